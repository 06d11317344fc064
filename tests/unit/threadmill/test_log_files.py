"""The logs of the embedded stack: kept short while programs write, and read as one."""

import json
from collections.abc import Iterator
from contextlib import closing
from io import FileIO
from pathlib import Path
from typing import Any

import pytest

from tests.command import run_command
from threadmill.embedded import log_file, log_reader

TURN = "01a2-turn"


def event(second: int, name: str, level: str = "info", **values: Any) -> str:
    return json.dumps({"timestamp": f"2026-01-01T00:00:{second:02}Z", "level": level, "event": name, **values})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a stack whose programs have logged."""
    (tmp_path / "logs").mkdir()
    write(
        tmp_path / "logs" / "turns.log",
        event(1, "turn_started", turn=TURN),
        event(5, "turn_ended", "error", turn=TURN, kind="agent_error"),
        "Traceback: \x1b]52;c;YQ==\x07",
    )
    write(tmp_path / "logs" / "turns.log.1", event(0, "worker_started"))
    write(tmp_path / "logs" / "beat.log", "{no event}", event(3, "beat: Starting..."))
    (tmp_path / "postgres").mkdir()
    write(tmp_path / "postgres" / "server.log", "2026-01-01 00:00:02.000 UTC [7] FATAL:  the disk is full")
    return tmp_path


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ([], ["{no", "worker_started", "turn_started", "beat:", "turn_ended", "Traceback:"]),
        (["--turn", TURN], ["turn_started", "turn_ended"]),
        (["--level", "WARNING"], ["turn_ended"]),
        (["--service", "beat", "--service", "postgres"], ["{no", "2026-01-01", "beat:"]),
        (["--service", "postgres", "--level", "error"], ["2026-01-01"]),
        (["--lines", "2"], ["turn_ended", "Traceback:"]),
    ],
)
def test_lines_of_all_programs_are_shown_in_the_order_of_time(
    folder: Path, options: list[str], names: list[str]
) -> None:
    shown = show(folder, *options)

    assert [_name(line) for line in shown.splitlines()] == names
    assert "\x1b" not in shown


def test_lines_are_objects_for_programs(folder: Path) -> None:
    shown = show(folder, "--service", "turns", "--json")

    lines = [json.loads(line) for line in shown.splitlines()]
    assert [line["event"] for line in lines[:3]] == ["worker_started", "turn_started", "turn_ended"]
    assert lines[-1] == {
        "service": "turns",
        "timestamp": "2026-01-01T00:00:05Z",
        "event": "Traceback: \x1b]52;c;YQ==\x07",
    }


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--directory", "nowhere"], "start `threadmill up` there first"),
        (["--service", "turms"], "no log of turms in"),
        (["--level", "loud"], "use one of debug, info"),
    ],
)
def test_what_cannot_be_shown_is_said_in_one_line(folder: Path, options: list[str], words: str) -> None:
    shown = run_command("logs", "--directory", str(folder), *options, folder=folder, environment={})

    assert (shown.returncode, shown.stdout, shown.stderr.count("\n")) == (1, "", 1)
    assert words in shown.stderr


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[FileIO]:
    """A program that has its log open, as a child has its output."""
    (tmp_path / "logs").mkdir()
    with closing(FileIO(tmp_path / "logs" / "turns.log", "a")) as file:
        yield file


def test_a_log_that_grows_is_set_aside_under_its_writer_and_stays_bounded(
    tmp_path: Path, writer: FileIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_file, "LIMIT_BYTES", 1000)
    log = tmp_path / "logs" / "turns.log"
    follower = log_reader.Follower(lambda: log_reader.find_logs(tmp_path))
    followed = []
    for number in range(100):
        writer.write(f"{event(1, 'turn_started', number=number)}\n".encode())
        followed += follower.poll()
        log_file.rotate(log)

    assert [line.event["number"] for line in followed if line.event] == list(range(100))
    kept = [line.event["number"] for line in log_reader.read_lines({"turns": log}) if line.event]
    assert kept == list(range(kept[0], 100))
    parts = list(log.parent.iterdir())
    assert len(parts) == 1 + log_file.PARTS
    assert sum(part.stat().st_size for part in parts) < 1100 * (1 + log_file.PARTS)


def test_what_comes_while_the_past_is_read_is_shown_once(tmp_path: Path, writer: FileIO) -> None:
    logs = {"turns": tmp_path / "logs" / "turns.log"}
    writer.write(f"{event(1, 'before')}\n".encode())
    follower = log_reader.Follower(lambda: logs)
    writer.write(f"{event(2, 'after')}\nhalf of a li".encode())

    past = list(log_reader.read_lines(logs, follower.positions()))
    (after,) = follower.poll()
    writer.write(b"ne\n")
    (rest,) = follower.poll()

    assert [line.event and line.event["event"] for line in (*past, after)] == ["before", "after"]
    assert (rest.raw, rest.timestamp) == ("half of a line", "2026-01-01T00:00:02Z")


def show(folder: Path, *options: str) -> str:
    shown = run_command("logs", "--directory", str(folder), *options, folder=folder, environment={})
    assert (shown.returncode, shown.stderr) == (0, "")
    return shown.stdout


def write(path: Path, *lines: str) -> None:
    path.write_text("".join(f"{line}\n" for line in lines))


def _name(line: str) -> str:
    """What is logged: behind the service, and of an event behind its time and level."""
    words = line.split()
    return words[3] if words[1].endswith("Z") else words[1]
