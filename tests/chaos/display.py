"""What a person sees of a run while it goes on: bars on a terminal, plain lines elsewhere.

What stays true: showing never holds up or breaks a run; numbers that cannot be had at the moment, with
the database away, are shown when they can.
"""

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Self

import psycopg
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

#: Seconds between two looks at the numbers, and between two plain lines.
LOOK_SECONDS, LINE_SECONDS = 1.0, 30.0

#: What is counted, and how far it has come.
Counts = Mapping[str, int]


class Display:
    """The progress of one run."""

    def __init__(self, console: Console, totals: Counts) -> None:
        self._console = console
        self._totals = totals
        self._began = time.monotonic()
        self._over = threading.Event()
        self._watcher: threading.Thread | None = None
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._tasks = {name: self._bars.add_task(name, total=total) for name, total in totals.items()}

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        if self._watcher is not None:
            self._watcher.join()
        self._bars.stop()

    def tell(self, what: str) -> None:
        """One line, with the time."""
        seconds = time.monotonic() - self._began
        self._console.print(f"{seconds:6.1f} s  {what}", highlight=False, soft_wrap=True)

    def watch(self, counts: Callable[[], Counts]) -> None:
        """Show these numbers from now on until the run is over."""
        self._watcher = threading.Thread(target=self._show, args=(counts,), daemon=True)
        self._watcher.start()

    def _show(self, counts: Callable[[], Counts]) -> None:
        line_due = time.monotonic() + LINE_SECONDS
        while not self._over.wait(LOOK_SECONDS):
            with suppress(psycopg.Error):
                now = counts()
                for name, count in now.items():
                    self._bars.update(self._tasks[name], completed=count)
                if not self._console.is_terminal and time.monotonic() > line_due:
                    line_due = time.monotonic() + LINE_SECONDS
                    self.tell(", ".join(f"{name} {n} of {self._totals[name]}" for name, n in now.items()))
