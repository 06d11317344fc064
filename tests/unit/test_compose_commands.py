"""The commands of docker-compose.yml, looked up for real: each is run with --help, here."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))[
    "services"
]
CELERY = sorted(name for name, service in SERVICES.items() if service.get("command", [""])[0] == "celery")


def run_with_help(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a container's command out of this environment, asking only for its help."""
    program, *words = command
    here = [sys.executable] if program == "python" else [sys.executable, "-m", program]
    return subprocess.run([*here, *words, "--help"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


#: Runs celery's own command line for each list of words, in one process: its imports take two seconds.
ASK_CELERY = """
import json, sys
from celery.bin.celery import celery
from click.testing import CliRunner

runs = [CliRunner().invoke(celery, [*words, "--help"]) for words in json.load(sys.stdin)]
print(json.dumps([[run.exit_code, run.output] for run in runs]))
"""
UNKNOWN_OPTION = "a worker with an option that celery does not know"


@pytest.fixture(scope="module")
def celery_help() -> dict[str, tuple[int, str]]:
    """Exit status and output of each command of celery, asked only for its help."""
    words = {name: SERVICES[name]["command"][1:] for name in CELERY}
    words[UNKNOWN_OPTION] = [*words["worker"], "--no-such-option"]
    done = subprocess.run(
        [sys.executable, "-c", ASK_CELERY],
        input=json.dumps(list(words.values())),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {name: tuple(run) for name, run in zip(words, json.loads(done.stdout), strict=True)}


def test_the_celery_processes_are_the_ones_that_the_stack_needs() -> None:
    assert CELERY == ["beat", "files", "flower", "maintenance", "quarantine", "worker"]


@pytest.mark.soak
@pytest.mark.parametrize("name", CELERY)
def test_a_celery_command_is_one_that_celery_accepts(name: str, celery_help: dict[str, tuple[int, str]]) -> None:
    """With an app that cannot be imported or an option it does not know, it refuses before it helps."""
    status, output = celery_help[name]

    assert status == 0, output
    assert "Usage" in output


def test_celery_does_refuse_an_option_that_it_does_not_know(celery_help: dict[str, tuple[int, str]]) -> None:
    """So that the test above can fail."""
    status, output = celery_help[UNKNOWN_OPTION]

    assert status == 2
    assert "no-such-option" in output


def test_the_migration_command_exists() -> None:
    done = run_with_help(SERVICES["migrate"]["command"])

    assert done.returncode == 0, done.stdout + done.stderr
    assert "migrate" in done.stdout


@pytest.mark.parametrize("name", ["files", "maintenance", "quarantine", "worker"])
def test_the_health_of_a_worker_is_read_with_a_command_that_exists_and_is_cheap(name: str) -> None:
    """A container engine asks every few seconds, and Celery's own answer takes two of a processor."""
    command = SERVICES[name]["healthcheck"]["test"][1:]

    done = run_with_help(command)

    assert done.returncode == 0, done.stdout + done.stderr
    assert command == ["python", "-m", "threadmill.healthcheck"]


def test_flower_knows_every_option_that_it_is_given() -> None:
    """Unknown ones it passes over in silence."""
    from flower.options import default_options  # slow, and for this test alone

    given = [word.removeprefix("--").split("=", 1) for word in SERVICES["flower"]["command"][4:]]

    assert given
    for name, value in given:
        assert name in default_options
        assert default_options._options[default_options._normalize_name(name)].type(value) is not None


def test_flower_asks_for_a_password_and_keeps_what_it_saw() -> None:
    from flower.options import default_options

    command, environment = SERVICES["flower"]["command"], SERVICES["flower"]["environment"]

    assert "FLOWER_BASIC_AUTH" in environment
    assert "basic_auth" in default_options
    assert "--persistent=True" in command
    assert any(word.startswith("--state_save_interval=") for word in command)
    assert "--db=/var/lib/threadmill/flower.db" in command
    assert SERVICES["flower"]["volumes"] == ["flower:/var/lib/threadmill"]
