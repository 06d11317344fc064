"""The output of agents' code in a worker, and the errors it leaves behind: counted, not written, unless a setting asks.

What stays true: once a worker is at work, its log alone is written to where its standard error went; nothing that is
printed there, by Python, by a library in C or by a child, stands among its lines. What was raised where nobody waits
for it is told by its type and its places. A log that cannot be written to harms nobody.
"""

import io
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any

import structlog

from conversation.foreign_exceptions import name_of, shorten, trace_of
from tasks.line_budget import LineBudget

#: Seconds between two lines that say how much was printed.
REPORT_SECONDS = 60.0
#: Characters of a printed line that are shown.
LINE_MAX_CHARS = 2_000

_log = structlog.get_logger(__name__)


class LogStream(io.TextIOBase):
    """A stream of a process's log on a descriptor of its own."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, text: str, /) -> int:
        """Write a text at once; where that cannot be, as on a full disk, it is lost."""
        rest = text.encode(errors="backslashreplace")
        with suppress(OSError):
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        return len(text)

    def writable(self) -> bool:
        return True


class PrintCounter:
    """A count of what is printed, told from time to time."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._chars = 0
        self._reported_at = -REPORT_SECONDS

    def count(self, chars: int) -> None:
        """Count what was printed. Threads that print at once may lose some."""
        self._chars += chars
        now = self._clock()
        if self._chars and now - self._reported_at >= REPORT_SECONDS:
            chars, self._chars, self._reported_at = self._chars, 0, now
            _log.info("print_dropped", chars=chars)


class PrintSink(io.TextIOBase):
    """A standard stream of a process whose prints nobody is to see."""

    encoding = "utf-8"
    errors = "backslashreplace"

    def __init__(self, name: str, descriptor: int, counter: PrintCounter) -> None:
        self.name = name
        self._descriptor = descriptor
        self._counter = counter
        self.buffer = _ByteSink(counter)

    def write(self, text: str, /) -> int:
        """Count a text."""
        self._counter.count(len(text))
        return len(text)

    def fileno(self) -> int:
        """The stream's descriptor, which leads nowhere, too."""
        return self._descriptor

    def writable(self) -> bool:
        return True

    def reconfigure(self, **_: Any) -> None:
        """Nothing: what is dropped has no form."""

    def close(self) -> None:
        """Nothing: others print, too."""


class _ByteSink(io.RawIOBase):
    def __init__(self, counter: PrintCounter) -> None:
        self._counter = counter

    def write(self, data: Any, /) -> int:
        size = memoryview(data).nbytes
        self._counter.count(size)
        return size

    def writable(self) -> bool:
        return True

    def close(self) -> None:
        """Nothing: others print, too."""


class PrintedLines(PrintSink):
    """A standard stream whose lines go to the log, each as an event, so many a second."""

    def __init__(self, name: str, descriptor: int, counter: PrintCounter) -> None:
        super().__init__(name, descriptor, counter)
        self._budget = LineBudget()
        self._begun = threading.local()

    def write(self, text: str, /) -> int:
        """Write the lines that a text ends; its rest waits for its end."""
        begun = getattr(self._begun, "text", "") + text
        *lines, self._begun.text = begun.split("\n")
        self._begun.text = self._begun.text[:LINE_MAX_CHARS]
        for line in lines:
            if line.strip():
                self._show(line)
        return len(text)

    def _show(self, line: str) -> None:
        turn_id = str(structlog.contextvars.get_contextvars().get("turn", ""))
        if self._budget.admit(turn_id) is None:
            self._counter.count(len(line))
        else:
            _log.info("printed", text=shorten(line, LINE_MAX_CHARS))


def open_log() -> Any:
    """The stream for this process's log: where standard error leads now, whatever becomes of that later."""
    try:
        return LogStream(os.dup(sys.stderr.fileno()))
    except (OSError, AttributeError, io.UnsupportedOperation):
        return sys.stderr


def take_over(*, shows_output: bool) -> None:
    """Keep what is printed from here on apart from the log; shown, each line of Python's is an event of it."""
    counter = PrintCounter()
    kind = PrintedLines if shows_output else PrintSink
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        with suppress(OSError, ValueError):
            getattr(sys, name).flush()
        setattr(sys, name, kind(f"<{name}>", descriptor, counter))
    if not shows_output:
        null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        for descriptor in (1, 2):
            os.dup2(null, descriptor)
        os.close(null)
    tell_what_is_left_behind()


def tell_what_is_left_behind() -> None:
    """Tell of what was raised where nobody waits for it by its type and its places alone."""
    sys.excepthook = _tell_uncaught
    sys.unraisablehook = lambda left: _tell(left.exc_value or left.exc_type())
    threading.excepthook = lambda left: _tell(left.exc_value or left.exc_type())


def _tell_uncaught(_: type[BaseException], error: BaseException, __: TracebackType | None) -> None:
    _tell(error)


def _tell(error: BaseException) -> None:
    # What ends a thread in good order, as in Python's own hook.
    if not isinstance(error, SystemExit):
        _log.warning("error_left_behind", error=name_of(error), trace=trace_of(error))
