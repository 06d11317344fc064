"""The end of a process that has run out of threads, memory or descriptors, so that another one can take its place.

What stays true: it begins once, whoever notices, from any thread, and needs nothing that may be missing: the process
claims nothing from that moment on, says why in one line, is asked to stop as its supervisor would ask it, and ends
with a status of its own. A full disk is no reason: the next process would find it as full. See decision 32.
"""

import mmap
import os
import resource
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import structlog
from billiard.process import current_process

from conversation.exhaustion import Exhausted, Resource, is_exhaustion, map_spare_memory, missing_resource, resource_of

__all__ = ["EXIT_STATUS", "Exhausted", "ExhaustionWatch", "Replacement", "is_exhaustion", "replacement"]

#: The exit status of a process that was exhausted: EX_TEMPFAIL, start it again.
EXIT_STATUS = 75
#: The part of the descriptors left to a process as it started, after which it is replaced.
DESCRIPTORS_SHARE = 0.9
#: Threads beyond those that a process had as it started, after which it is replaced: what runs tools, and tasks, and
#: waits for libraries is bounded far below.
THREADS_MAX = 2_000
#: Descriptors that are set aside for the end, as memory is: what a tool used up is missing there, too.
SPARE_DESCRIPTORS = 16
#: Looks in a row that must see it: a process that is short of something for a moment is not replaced.
LOOKS = 2

_log = structlog.get_logger(__name__)


class Replacement:
    """Whether this process is to be replaced, and for what."""

    def __init__(self) -> None:
        self.resource: Resource | None = None
        #: Called first, on whichever thread noticed: has the process claim nothing more. Must not block.
        self.on_begin: Callable[[], None] | None = None
        self._lock = threading.Lock()
        self._memory: mmap.mmap | None = None
        self._descriptors: list[int] = []

    def set_aside(self) -> None:
        """Set aside what the end needs, once: none of it costs anything but room below the process's limits."""
        if self._memory is not None:
            return
        with suppress(OSError, MemoryError):
            self._memory = map_spare_memory()
            for _ in range(SPARE_DESCRIPTORS):
                self._descriptors.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))

    def _give_back(self) -> None:
        if self._memory is not None:
            self._memory.close()
        while self._descriptors:
            os.close(self._descriptors.pop())

    @property
    def exit_status(self) -> int | None:
        """The status with which the process has to end; None where nothing ran out."""
        return None if self.resource is None else EXIT_STATUS

    def begin_after(self, error: BaseException) -> bool:
        """Begin, if an error says that this process is exhausted; whether it does. Returns at once."""
        missing = resource_of(error)
        if missing is None or missing is Resource.DISK:
            return False
        self.begin(missing)
        return True

    def begin(self, missing: Resource) -> None:
        """Have this process end in good order, for what it lacks. Returns at once; done twice, it is done once."""
        with self._lock:
            if self.resource is not None:
                return
            self.resource = missing
        self._give_back()
        if self.on_begin is not None:
            self.on_begin()
        # A line of the log may need what is missing.
        with suppress(MemoryError, OSError, RuntimeError):
            _log.error("process_exhausted", resource=str(missing), pid=os.getpid())
        if current_process().name != "MainProcess":
            # A child that a pool forked: the pool forks another, and what it was at is asked for again.
            os._exit(EXIT_STATUS)
        os.kill(os.getpid(), signal.SIGTERM)


#: The replacement of this process.
replacement = Replacement()


class ExhaustionWatch:
    """A look at what a process has left, with each of its heartbeats: so that a leak harms nobody else."""

    def __init__(self) -> None:
        soft_limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        used = _count_descriptors()
        self._descriptors_max = used + (soft_limit - used) * DESCRIPTORS_SHARE
        if soft_limit == resource.RLIM_INFINITY:
            self._descriptors_max = float("inf")
        self._threads_max = _count_threads() + THREADS_MAX
        self._looks = 0

    def look(self) -> Resource | None:
        """The resource that has run out, or soon will have; None unless that was seen before, too."""
        missing = self._find_missing()
        self._looks = 0 if missing is None else self._looks + 1
        return missing if self._looks >= LOOKS else None

    def _find_missing(self) -> Resource | None:
        missing = missing_resource()
        if missing is not None and missing is not Resource.DISK:
            return missing
        if _count_descriptors() > self._descriptors_max:
            return Resource.DESCRIPTORS
        return Resource.THREADS if _count_threads() > self._threads_max else None


def _count_descriptors() -> int:
    try:
        return len(os.listdir("/proc/self/fd" if Path("/proc/self/fd").exists() else "/dev/fd"))  # noqa: PTH208 - names
    except OSError:
        return 0


def _count_threads() -> int:
    """The threads of this process, those that no Python started included."""
    try:
        return len(os.listdir("/proc/self/task"))  # noqa: PTH208 - as above
    except OSError:
        return threading.active_count()
