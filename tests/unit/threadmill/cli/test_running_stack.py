"""The stack that runs in a folder: who finds it, who does not, and what a database that is away says."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import run_command
from threadmill.cli import running_stack
from threadmill.embedded.home import ENVIRONMENT_FILE, Home
from threadmill.embedded.stack import Stack

VARIABLES = {
    running_stack.DATABASE_URL: "sqlite:////of/the/stack.db",
    running_stack.BROKER_URL: "redis://:pa'ss@127.0.0.1:9/0",
    running_stack.FILE_STORE_URL: "/of/the stack",
}


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Home]:
    """The folder of a stack that runs."""
    home = Home(tmp_path / ".threadmill")
    home.own()
    home.write_private(ENVIRONMENT_FILE, json.dumps(VARIABLES))
    yield home
    home.release()


def adopt(folder: Path, **variables: str) -> dict[str, str]:
    """The three addresses after a command in this folder took them up."""
    with pytest.MonkeyPatch.context() as process:
        process.setattr(os, "environ", dict(variables))
        running_stack.adopt(folder)
        return {name: os.environ[name] for name in VARIABLES if name in os.environ}


def test_commands_take_up_the_stack_of_their_folder(running: Home) -> None:
    assert adopt(running.directory) == VARIABLES
    assert (running.directory / ENVIRONMENT_FILE).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("name", ["THREADMILL_DATABASE_URL", "NARRATOR_DATABASE_URL"])
def test_an_environment_that_names_a_database_is_left_alone(running: Home, name: str) -> None:
    assert set(adopt(running.directory, **{name: "sqlite://"})) <= {name}


def test_an_environment_that_names_the_stacks_own_database_is_completed(running: Home) -> None:
    name = "THREADMILL_DATABASE_URL"

    assert adopt(running.directory, **{name: VARIABLES[name]}) == VARIABLES


def test_a_file_store_of_the_environment_goes_before_the_stacks(running: Home) -> None:
    adopted = adopt(running.directory, **{running_stack.FILE_STORE_URL: "s3://mine"})

    assert adopted == VARIABLES | {running_stack.FILE_STORE_URL: "s3://mine"}


def test_a_stack_that_was_killed_is_not_found(running: Home) -> None:
    running.release()

    assert adopt(running.directory) == {}


def test_a_file_that_others_may_read_or_that_is_of_somebody_else_is_not_believed(
    running: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    (running.directory / ENVIRONMENT_FILE).chmod(0o640)
    assert adopt(running.directory) == {}

    (running.directory / ENVIRONMENT_FILE).chmod(0o600)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert adopt(running.directory) == {}


def test_a_file_that_somebody_edited_stops_no_command(running: Home) -> None:
    running.write_private(ENVIRONMENT_FILE, "THREADMILL_DATABASE_URL=")

    assert adopt(running.directory) == {}


def test_a_stack_removes_its_file_when_it_stops(tmp_path: Path) -> None:
    environment = {running_stack.DATABASE_URL: f"sqlite:///{tmp_path}/db", running_stack.BROKER_URL: "redis://x"}
    stack = Stack(tmp_path / "home", environment, plan=lambda _: [])
    # As one leaves it that was killed: until this one has started, no command may read it.
    Home(tmp_path / "home").write_private(ENVIRONMENT_FILE, "{}")
    file, seen = tmp_path / "home" / ENVIRONMENT_FILE, list[bool]()
    with pytest.MonkeyPatch.context() as servers:
        servers.setattr("threadmill.embedded.stack.check_broker", lambda _: seen.append(file.exists()))
        stack.start()

    assert seen == [False]
    assert running_stack.find(tmp_path / "home") == stack.variables
    stack.stop()
    assert not file.exists()


def test_the_addresses_are_printed_for_a_shell_and_for_a_program(running: Home, tmp_path: Path) -> None:
    for_shell = run_command("env", folder=tmp_path, environment={}).stdout
    for_program = run_command("env", "--json", folder=tmp_path, environment={}).stdout
    running.release()
    gone = run_command("env", folder=tmp_path, environment={})

    assert f"export {running_stack.FILE_STORE_URL}='/of/the stack'\n" in for_shell
    assert json.loads(for_program) == VARIABLES
    assert (gone.returncode, gone.stderr) == (
        1,
        "threadmill: no stack runs in .threadmill: start one with `threadmill up`\n",
    )


def test_a_command_works_with_the_stack_of_its_folder_and_leaves_nothing_behind(running: Home, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    running.write_private(ENVIRONMENT_FILE, json.dumps(VARIABLES | {running_stack.DATABASE_URL: url}))

    done = run_command("threads", "list", folder=tmp_path, environment={})

    assert (done.returncode, done.stdout) == (0, "no threads match\n")
    assert (tmp_path / "store.db").exists()
    assert running_stack.DATABASE_URL not in os.environ


def test_nothing_that_runs_is_said_with_what_starts_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = "the database did not answer: Connection refused"
    monkeypatch.chdir(tmp_path)

    assert "no stack runs in this folder" in str(running_stack.advise(problem))
    assert "`threadmill up`" in str(running_stack.advise(problem))
    monkeypatch.setenv(running_stack.DATABASE_URL, "postgresql://127.0.0.1:9/gone")
    assert str(running_stack.advise(problem)).startswith("THREADMILL_DATABASE_URL points there")
    assert running_stack.advise("the database's disk is full") is None
