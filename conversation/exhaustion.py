"""Errors that say that a process has run out of something, told from those of whoever ran into them.

What stays true: an error is known by its type and number, and by those of what led to it, never by words that a user
may have chosen; nothing here runs an exception's own code, and nothing raises. What no error says is found by asking
the system for a little of everything.
"""

import _thread
import errno
import mmap
import os
from collections.abc import Iterator
from enum import StrEnum

#: Errors of one chain that are looked at.
CHAIN_MAX = 200
#: Bytes that a process must be able to get, or it is out of memory: what two threads reserve for their stacks.
SPARE_BYTES = 16 * 1024 * 1024


class Resource(StrEnum):
    """The resources that a process can run out of."""

    THREADS = "threads"
    MEMORY = "memory"
    DESCRIPTORS = "descriptors"
    #: No process's own: a new one would find it as full.
    DISK = "disk"


class Exhausted(Exception):
    """The process has run out of something: none of its fault who ran into it."""

    def __init__(self, resource: Resource) -> None:
        super().__init__(f"the process has run out of {resource}")
        self.resource = resource


_BY_NUMBER = {
    errno.EMFILE: Resource.DESCRIPTORS,
    errno.ENFILE: Resource.DESCRIPTORS,
    errno.ENOMEM: Resource.MEMORY,
    errno.ENOBUFS: Resource.MEMORY,
    errno.ENOSPC: Resource.DISK,
    errno.EDQUOT: Resource.DISK,
}
# As Python keeps them, past properties that an exception's own class may have in their place.
_context_of, _cause_of, _traceback_of, _arguments_of = (
    vars(BaseException)[name].__get__ for name in ("__context__", "__cause__", "__traceback__", "args")
)
_number_of = vars(OSError)["errno"].__get__
_exceptions_of = vars(BaseExceptionGroup)["exceptions"].__get__
#: What Python says where the system has no thread left.
_NO_THREAD = "can't start new thread"
#: Names in code that forks. Anywhere else the same number means that there is nothing to read or write yet.
FORKING = frozenset({"fork", "forkpty", "fork_exec", "_fork_exec", "posix_spawn", "posix_spawnp"})
#: The driver whose C library says in words alone what the system refused. SQLite's words quote whoever searches, and
#: it has others for what it lacks.
_DRIVER = "psycopg"
_BY_WORDS = {
    os.strerror(errno.EMFILE): Resource.DESCRIPTORS,
    os.strerror(errno.ENFILE): Resource.DESCRIPTORS,
    os.strerror(errno.ENOMEM): Resource.MEMORY,
    _NO_THREAD: Resource.THREADS,
}


def is_exhaustion(error: BaseException) -> bool:
    """Whether an error, or what led to it, says that something has run out."""
    return resource_of(error) is not None


def resource_of(error: BaseException) -> Resource | None:
    """The resource that has run out, by an error and by what led to it; None for any other error."""
    return next((resource for each in _chain(error) if (resource := _own_resource(each)) is not None), None)


def missing_resource() -> Resource | None:
    """The resource that this process cannot get a little of now; None where it has some of each."""
    try:
        os.close(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
        # Before a thread, which needs some as well.
        map_spare_memory().close()
        _thread.start_new_thread(_do_nothing, ())
    except (OSError, RuntimeError, MemoryError) as error:
        return resource_of(error)
    return None


def has_memory() -> bool:
    """Whether this process can get memory now: then one request was too large, and no more."""
    try:
        map_spare_memory().close()
    except (OSError, MemoryError):
        return False
    return True


def map_spare_memory() -> mmap.mmap:
    """So much memory, of which none is used before somebody writes to it. Raises `OSError` and `MemoryError`."""
    return mmap.mmap(-1, SPARE_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


def _do_nothing() -> None:
    pass


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error, what it holds and what led to it, also where that is not to be shown."""
    waiting: list[BaseException | None] = [error]
    seen: set[int] = set()
    while waiting and len(seen) < CHAIN_MAX:
        each = waiting.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        if isinstance(each, BaseExceptionGroup):
            waiting.extend(_exceptions_of(each)[:CHAIN_MAX])
        waiting += [_context_of(each), _cause_of(each)]


def _own_resource(error: BaseException) -> Resource | None:
    if isinstance(error, Exhausted):
        return error.resource
    if isinstance(error, MemoryError):
        return Resource.MEMORY
    if isinstance(error, OSError):
        number = _number_of(error)
        return _resource_of_fork(error) if number == errno.EAGAIN else _BY_NUMBER.get(number)
    arguments = _arguments_of(error)
    words = arguments[0] if arguments and type(arguments[0]) is str else ""
    if isinstance(error, RuntimeError):
        return Resource.THREADS if words == _NO_THREAD else None
    if type(error).__module__.startswith(_DRIVER) and getattr(error, "sqlstate", None) is None:
        return next((resource for text, resource in _BY_WORDS.items() if text in words), None)
    return None


def _resource_of_fork(error: OSError) -> Resource | None:
    """Threads, where no process could be forked; both count against one limit."""
    place = _traceback_of(error)
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    is_fork = place is not None and not FORKING.isdisjoint(place.tb_frame.f_code.co_names)
    return Resource.THREADS if is_fork else None
