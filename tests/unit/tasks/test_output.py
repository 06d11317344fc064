"""What is printed in a worker, and what others log there: counted or shown, bounded, and in nobody's words."""

import io
import logging
import os
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from conversation.logs import bind_turn
from tasks import output
from tasks.foreign_lines import LineHandler
from tasks.line_budget import KEYS_MAX, LineBudget
from tasks.output import LogStream, PrintCounter, PrintedLines, PrintSink
from tests.unit.tasks.test_log_config import IDS, MARKER, TURN


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_what_is_printed_is_counted_and_told_once_a_minute() -> None:
    clock = Clock()
    sink = PrintSink("<stdout>", 1, PrintCounter(clock=clock))

    with capture_logs() as lines:
        print(MARKER, "and more", file=sink)
        for _ in range(1_000):
            sink.buffer.write(b"12345")
        clock.now = 61.0
        sink.writelines(["a\n", "b\n"])

    assert [(line["event"], line["chars"]) for line in lines] == [
        ("print_dropped", len(MARKER)),
        ("print_dropped", 5_012),
    ]
    assert MARKER not in str(lines)


def test_a_stream_that_somebody_closes_goes_on() -> None:
    sink = PrintSink("<stdout>", 1, PrintCounter())

    sink.reconfigure(line_buffering=True)
    for _ in range(2):
        sink.close()
        sink.buffer.close()
        sink.write("text")
        sink.flush()

    assert (sink.fileno(), sink.isatty(), sink.writable()) == (1, False, True)


def test_a_printed_line_that_is_to_be_shown_is_an_event_of_its_turn() -> None:
    lines_out = PrintedLines("<stdout>", 1, PrintCounter())

    with capture_logs() as lines, bind_turn(TURN):
        print("one", 2, file=lines_out)
        print("x" * 10_000, "\n\nlast", end="", file=lines_out)

    assert [line["event"] for line in lines] == ["printed"] * 2
    assert [len(line["text"]) for line in lines] == [5, output.LINE_MAX_CHARS]


def test_a_log_that_cannot_be_written_to_harms_nobody(tmp_path: Path) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        assert LogStream(full).write("line\n") == 5
    finally:
        os.close(full)


def test_lines_are_bounded_by_turn_and_second_and_what_was_left_out_is_told() -> None:
    clock = Clock()
    budget = LineBudget(burst=3, per_second=2, clock=clock)

    assert [budget.admit("a") for _ in range(5)] == [0, 0, 0, None, None]
    assert budget.admit("b") == 0
    clock.now = 0.5
    assert [budget.admit("a") for _ in range(2)] == [2, None]
    for number in range(KEYS_MAX + 10):
        budget.admit(str(number))
    assert len(budget._accounts) <= KEYS_MAX


def record_of(path: str, level: int, text: str, *args: Any) -> logging.LogRecord:
    return logging.LogRecord("some.logger", level, path, 7, text, args, None)


@pytest.fixture
def handler() -> LineHandler:
    handler = LineHandler(io.StringIO(), own_modules=["httpx.agents"])
    handler.setFormatter(logging.Formatter("%(is_withheld)s %(message)s"))
    return handler


def written(handler: LineHandler) -> str:
    text: str = handler.stream.getvalue()
    return text


LIBRARY = logging.__file__
OWN = __file__


def test_a_library_says_nothing_below_a_warning_and_the_users_code_says_what_it_likes(handler: LineHandler) -> None:
    for path in (LIBRARY, OWN, httpx.__file__):
        for level in (logging.DEBUG, logging.INFO, logging.WARNING):
            handler.emit(record_of(path, level, "text"))

    assert written(handler).splitlines() == ["True text", *["False text"] * 6]


def test_the_text_of_an_exception_never_stands_in_a_line_nor_does_one_that_cannot_be_made(handler: LineHandler) -> None:
    error = ValueError(MARKER)
    handler.emit(record_of(OWN, logging.ERROR, "failed: %s", error))
    handler.emit(record_of(OWN, logging.ERROR, "failed: %(error)r", {"error": error}))
    handler.emit(record_of(OWN, logging.ERROR, "%d", MARKER))

    assert written(handler) == "False failed: ValueError\nFalse failed: 'ValueError'\n"


def test_what_a_thread_leaves_behind_is_told_by_its_type_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("excepthook", "unraisablehook"):
        monkeypatch.setattr(f"sys.{name}", None)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    output.tell_what_is_left_behind()

    def break_off() -> None:
        raise ValueError(MARKER)

    with capture_logs() as lines:
        thread = threading.Thread(target=break_off)
        thread.start()
        thread.join()

    assert [(line["event"], line["error"]) for line in lines] == [("error_left_behind", "ValueError")]
    assert MARKER not in str(lines)
    assert IDS
