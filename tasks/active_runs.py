"""The runs that are active in this process, and why one of them should stop.

What stays true: a thread of conversation is entered before it is claimed and leaves after its lease
is released. So a lease that the database says is ours, and that is not in here, was lost on the way.
The event loop writes; the heartbeat's thread reads, and asks for stops.
"""

import asyncio
from collections.abc import Collection, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

from conversation.turn import Lease

T = TypeVar("T")

#: (tenant, thread id)
ThreadName = tuple[str, str]


class StopReason(Enum):
    """The reason for which a run was stopped, which decides how its turn ends."""

    CANCEL = "cancel"
    SHUTDOWN = "shutdown"


@dataclass(slots=True, eq=False)
class ActiveRun:
    """One task at work on a thread, and the run that it waits for, if it does."""

    thread: ThreadName
    turn_id: str | None = None
    task: asyncio.Task[object] | None = None
    stop_reason: StopReason | None = None
    #: The lease of its turn, from the claim on.
    lease: Lease | None = None

    def stop(self, reason: StopReason) -> None:
        """Stop the run, once: the first reason stands. Only on the event loop."""
        if self.task is not None and self.stop_reason is None and not self.task.done():
            self.stop_reason = reason
            self.task.cancel()

    def end_run(self) -> None:
        """Note that the run is over: no stop reaches it any more."""
        self.turn_id = self.task = None


class ActiveRuns:
    """The register of one process."""

    def __init__(self) -> None:
        #: By thread, as a rule one each: whether a thread is in here must not cost more where many are.
        self._entries: dict[ThreadName, list[ActiveRun]] = {}
        #: Threads that a task left by an exception: perhaps without having released the lease.
        self._broken_off: set[ThreadName] = set()
        #: How often a thread was entered or left: it stands still while nothing begins or ends.
        self.changes = 0
        self.is_stopping = False
        self.grace_is_over = False

    @contextmanager
    def enter(self, thread: ThreadName) -> Iterator[ActiveRun]:
        """Enter a thread for as long as this process may hold its lease."""
        entry = ActiveRun(thread)
        entries = self._entries.setdefault(thread, [])
        entries.append(entry)
        self.changes += 1
        try:
            yield entry
        except BaseException:
            self._broken_off.add(thread)
            raise
        finally:
            self.changes += 1
            entries.remove(entry)
            if not entries:
                del self._entries[thread]

    def begin_run(self, entry: ActiveRun, turn_id: str, run: Coroutine[object, object, T]) -> "asyncio.Task[T]":
        """Begin the run of a turn, which stops reach from now on; after the grace it is stopped at once."""
        task = asyncio.create_task(run)
        entry.turn_id, entry.task, entry.stop_reason = turn_id, task, None
        if self.grace_is_over:
            # Claimed while the process was told to stop.
            entry.stop(StopReason.SHUTDOWN)
        return task

    def has(self, thread: ThreadName) -> bool:
        """Whether a task works on this thread. From any thread."""
        return thread in self._entries

    def list_broken_off(self) -> frozenset[ThreadName]:
        """The threads whose lease may be held although no task works on them. From any thread."""
        return frozenset(thread for thread in tuple(self._broken_off) if not self.has(thread))

    def forget_broken_off(self, threads: Collection[ThreadName]) -> None:
        """Forget threads whose leases were looked at. From any thread."""
        self._broken_off.difference_update(threads)

    def has_run(self, thread: ThreadName) -> bool:
        """Whether a turn of this thread runs here. Only on the event loop."""
        tasks = (entry.task for entry in self._entries.get(thread, ()))
        return any(task is not None and not task.done() for task in tasks)

    def has_lease(self, lease: Lease, *, besides: ActiveRun) -> bool:
        """Whether another task at work here has this very lease. Only on the event loop."""
        thread_entries = self._entries.get(besides.thread, ())
        return any(entry.lease == lease for entry in thread_entries if entry is not besides)

    def has_turn(self, turn_id: str) -> bool:
        """Whether a turn runs here. Only on the event loop."""
        return any(entry.turn_id == turn_id for entry in self._list_entries())

    def cancel(self, turn_id: str) -> None:
        """Stop a turn whose cancel was requested, if it runs here. Only on the event loop."""
        for entry in self._list_entries():
            if entry.turn_id == turn_id:
                entry.stop(StopReason.CANCEL)

    def stop_all(self) -> None:
        """Stop every run, now and from now on: turns are handed over. Only on the event loop."""
        self.grace_is_over = True
        for entry in self._list_entries():
            entry.stop(StopReason.SHUTDOWN)

    def _list_entries(self) -> list[ActiveRun]:
        return [entry for entries in tuple(self._entries.values()) for entry in entries]

    def __len__(self) -> int:
        return len(self._list_entries())
