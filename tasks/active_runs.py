"""What runs in this process now, and why any of it should stop.

What stays true: a thread of conversation is entered before it is claimed and leaves after its lease
is given up. So a lease that the database says is ours, and that is not in here, was lost on the way.
The event loop writes; the heartbeat's thread reads, and asks for stops.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum

#: (tenant, thread id)
ThreadName = tuple[str, str]


class StopReason(Enum):
    """Why a run was stopped: what becomes of its turn depends on it."""

    CANCEL = "cancel"
    SHUTDOWN = "shutdown"


@dataclass(slots=True, eq=False)
class Occupied:
    """One task at work on a thread, and the run that it waits for, if it does."""

    thread: ThreadName
    turn_id: str | None = None
    run: asyncio.Task[object] | None = None
    stop_reason: StopReason | None = None

    def stop(self, reason: StopReason) -> None:
        """Stop the run, once: the first reason stands. Only on the event loop."""
        if self.run is not None and self.stop_reason is None and not self.run.done():
            self.stop_reason = reason
            self.run.cancel()


class Running:
    """The register of one process."""

    def __init__(self) -> None:
        self._occupied: set[Occupied] = set()
        self.is_stopping = False
        self.grace_is_over = False

    @contextmanager
    def entered(self, thread: ThreadName) -> Iterator[Occupied]:
        """Enter a thread for as long as somebody may hold its lease."""
        entry = Occupied(thread)
        self._occupied.add(entry)
        try:
            yield entry
        finally:
            self._occupied.discard(entry)

    def has(self, thread: ThreadName) -> bool:
        """Whether a task works on this thread. From any thread."""
        return any(entry.thread == thread for entry in tuple(self._occupied))

    def has_run(self, thread: ThreadName) -> bool:
        """Whether a turn of this thread runs here. Only on the event loop."""
        runs = (entry.run for entry in self._occupied if entry.thread == thread)
        return any(run is not None and not run.done() for run in runs)

    def cancel(self, turn_id: str) -> None:
        """Stop a turn that somebody asked to cancel, if it runs here. Only on the event loop."""
        for entry in tuple(self._occupied):
            if entry.turn_id == turn_id:
                entry.stop(StopReason.CANCEL)

    def stop_all(self) -> None:
        """Stop every run, now and from now on: turns are handed back. Only on the event loop."""
        self.grace_is_over = True
        for entry in tuple(self._occupied):
            entry.stop(StopReason.SHUTDOWN)

    def __len__(self) -> int:
        return len(self._occupied)
