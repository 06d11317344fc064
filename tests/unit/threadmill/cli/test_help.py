"""Help, the version and wrong usage: quick, and in the words of the command line."""

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.command import run_command
from tests.every_command import find_all
from threadmill.embedded.home import Home

#: What a command may need when it runs, and help never does.
SLOW = {"alembic", "asyncio", "boto3", "celery", "litellm", "psycopg", "pydantic", "redis", "rich", "sqlalchemy"}
#: The beginning of a command that creates a schedule.
DAILY = ["recurring", "create", "hello", "--cron", "@daily"]

#: Prints the help of every command in one process, then the modules that are loaded.
PROGRAM = """
import contextlib, io, json, sys
from threadmill.cli import main
assert not any(name.startswith("typer") for name in sys.modules), "Ctrl-C would meet the imports of a command"
for path in json.loads(sys.argv[1]):
    sys.argv = ["threadmill", *path, "--help"]
    with contextlib.redirect_stdout(io.StringIO()) as printed, contextlib.suppress(SystemExit):
        main()
    assert "Usage: threadmill" in printed.getvalue(), path
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


def test_the_help_of_no_command_imports_what_is_slow(tmp_path: Path) -> None:
    paths = [[], *find_all()]
    # A folder in which a stack was started: help must not look closely at it.
    Home(tmp_path / ".threadmill").write_private("owner.lock", "")

    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(paths)],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path(__file__).parents[4])},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    assert set(json.loads(done.stdout)) & SLOW == set()


def test_the_version_is_that_of_the_package(tmp_path: Path) -> None:
    done = run_command("--version", folder=tmp_path, environment={})

    assert (done.returncode, done.stdout) == (0, f"threadmill {version('threadmill')}\n")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["retention", "set", "--tenant", "a", "--idle-days", "-4"], "--idle-days: is -4"),
        (["retention", "set", "--tenant", "a"], "set one of --idle-days, --max-age-days, --max-messages"),
        (["turns", "cancel", "nonsense"], "TURN_IDS: no turn 'nonsense' is stored"),
        (["send", "a thread", "hello"], "THREAD_ID: holds white space"),
        (["send", "t", "hello", "--agent", "nobody"], "start a worker that serves it\n"),
        (["doctor", "--check", "nothing"], "--check: "),
        (["threads", "when-busy", "t", "later"], "POLICY: is 'later'"),
        ([*DAILY, "--thread", "t", "--zone", "Berlin"], "--zone: is 'Berlin'"),
        (DAILY, "--thread: and --thread-rule are given together"),
        (["inbound", "create", "s", "--thread", "t", "--text", "{x}", "--key", "{/id}"], "--text: has 'x' in braces"),
        (["inbound", "create", "s", "--thread", "t", "--text", "x", "--key", "k"], "--key: is the same for each event"),
        (["webhooks", "rotate", "none", "--grace", "400d"], "pass at most 365 days\n"),
    ],
)
def test_messages_speak_of_options(arguments: list[str], complaint: str, sqlite_url: str, tmp_path: Path) -> None:
    environment = {"THREADMILL_DATABASE_URL": sqlite_url, "THREADMILL_BROKER_URL": "redis://127.0.0.1:1/0"}

    done = run_command(*arguments, folder=tmp_path, environment=environment)

    assert done.returncode == 1
    assert complaint in done.stderr


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["turns", "list", "--limit", "0"], ["turns", "list", "\x1b[31m"], []]
)
def test_wrong_usage_is_status_2_without_control_characters(arguments: list[str], tmp_path: Path) -> None:
    done = run_command(*arguments, folder=tmp_path, environment={})

    assert done.returncode == 2
    assert "\x1b" not in done.stdout + done.stderr
    assert "Usage: threadmill" in done.stdout + done.stderr
