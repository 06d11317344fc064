"""Commands that pages show exist, with the options and names that they are shown with."""

import re
import shlex
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from conversation import task_contract
from store.settings import Settings, variable
from store.settings.secret_files import SUFFIX
from tests.docs.pages import ROOT, Block, all_blocks
from threadmill.cli.command import app

#: Programs of the system: that they are spelled right is all that can be seen from here.
FOREIGN = {
    *("cd", "cp", "curl", "eval", "export", "git", "kill", "mkdir", "openssl", "pgrep", "pip", "python", "python3"),
    *("aws", "createdb", "kubectl", "pg_dump", "pg_restore", "psql", "valkey-cli"),
}
MAKE_TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
SERVICES = set(yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"])
QUEUES = {
    task_contract.TURNS_QUEUE,
    task_contract.QUARANTINE_QUEUE,
    task_contract.MAINTENANCE_QUEUE,
    task_contract.FILES_QUEUE,
}
SETTINGS = {f"{variable(field)}{suffix}" for field in Settings.model_fields for suffix in ("", SUFFIX)}
VARIABLE = re.compile(r"\bTHREADMILL_[A-Z0-9_]+\b")


def commands(block: Block) -> list[list[str]]:
    """The words of each command, comments and continued lines taken care of."""
    text = block.text.replace("\\\n", " ")
    found = []
    for line in text.splitlines():
        for part in re.split(r"&&|\||;", line.partition(" #")[0] if not line.startswith("#") else ""):
            words = shlex.split(part)
            while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                words.pop(0)
            if words:
                found.append(words)
    return found


def complaint(words: list[str]) -> str | None:
    """What is wrong with a command, as far as we can tell."""
    program, *rest = words
    if rest[:2] == ["-m", "threadmill"]:
        program, rest = "threadmill", rest[2:]
    if program in CHECKS:
        return CHECKS[program](rest)
    return None if program in FOREIGN or program.startswith(".venv/bin/") else f"unknown program {program}"


def make(words: list[str]) -> str | None:
    """Whether the Makefile has these targets."""
    return next((f"no target {word}" for word in words if "=" not in word and word not in MAKE_TARGETS), None)


def celery(words: list[str]) -> str | None:
    """Whether it is our app, on queues that we have."""
    queues = {queue for option, value in pairwise(words) if option == "-Q" for queue in value.split(",")} - QUEUES
    return f"no queue {queues}" if queues else None if "threadmill.app" in words else "not our app"


def docker(words: list[str]) -> str | None:
    """Whether the compose file has the services that are scaled."""
    scaled = [word.partition("=")[0] for word in words if re.fullmatch(r"\w+=\d+", word)]
    return next((f"no service {name}" for name in scaled if name not in SERVICES), None)


def threadmill(words: list[str]) -> str | None:
    """Whether the command line understands this, without running it."""
    command = get_command(app)
    for word in words:
        if word.startswith("-"):
            known = {option for parameter in command.params for option in parameter.opts}
            return None if word in known | {"--help"} else f"{command.name} has no option {word}"
        inner = getattr(command, "commands", {}).get(word)
        if inner is None:
            return None if not hasattr(command, "commands") else f"no command {word}"
        command = inner
    return None


CHECKS = {"make": make, "celery": celery, "docker": docker, "threadmill": threadmill}


@pytest.mark.parametrize("block", all_blocks("sh"), ids=lambda block: block.place)
def test_commands_exist(block: Block) -> None:
    wrong = {shlex.join(words): problem for words in commands(block) if (problem := complaint(words))}

    assert wrong == {}


def test_variables_that_pages_name_are_settings() -> None:
    texts = {path: path.read_text() for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))}
    others = known_elsewhere()

    unknown = {
        f"{path.relative_to(ROOT)}: {name}"
        for path, text in texts.items()
        for name in VARIABLE.findall(text)
        if name not in SETTINGS | others and not name.endswith("_")
    }

    assert unknown == set()


def known_elsewhere() -> set[str]:
    """Variables that our own files read by themselves."""
    folders = ("threadmill", "examples", "benchmarks")
    sources = [path for folder in folders for path in Path(ROOT / folder).rglob("*.py")]
    return {name for path in sources for name in VARIABLE.findall(path.read_text())}
