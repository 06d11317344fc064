"""The threads in which synchronous tools run, and results are encoded.

What stays true: no more than `max_workers` functions run at once, beside those that begin at once because
they are short. An abandoned function is counted until it returns, because a thread cannot be killed. The
threads are daemons and end when there is nothing to do: `ThreadPoolExecutor` would hold up the exit of the
process until the last stuck function returned, which may be never.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any, TypeVar

from conversation.exhaustion import Exhausted, Resource

Result = TypeVar("Result")


class NotStarted(TimeoutError):
    """The function never ran: no thread came free in time."""


class StillRunning(TimeoutError):
    """The function overran its time and keeps its thread: its effect is unknown."""


class ToolThreads:
    """A bounded set of threads, with a count of those that run abandoned functions."""

    def __init__(self, max_workers: int, *, stuck_limit: int | None = None) -> None:
        if max_workers < 1:
            raise ValueError("max_workers must be at least 1")
        self.max_workers = max_workers
        #: With half of its threads stuck, a process is better replaced.
        self.stuck_limit = stuck_limit if stuck_limit is not None else (max_workers + 1) // 2
        self._lock = threading.Lock()
        self._waiting: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._threads = 0
        self._stuck = 0

    @property
    def stuck(self) -> int:
        """The number of threads that run abandoned functions."""
        return self._stuck

    @property
    def limit_reached(self) -> bool:
        """Whether so many threads are stuck that this process should stop, for another to start."""
        return self._stuck >= self.stuck_limit

    def count_left_behind(self, future: Future[Any]) -> None:
        """Count the thread of a function that nobody waits for, until the function returns."""
        self.count_lost(1)
        future.add_done_callback(self._note_return)

    def count_lost(self, number: int) -> None:
        """Count threads that are lost elsewhere, or, with a negative number, found again."""
        with self._lock:
            self._stuck += number

    def submit(self, function: Callable[[], Result], *, at_once: bool = False) -> Future[Result]:
        """Run a function as soon as a thread is free, in the order of submission; or at once, in one more.

        Where the process can start no thread and has none that will be free, the future raises `Exhausted`.
        """
        future: Future[Result] = Future()
        work: Callable[[], object] = partial(_fulfil, future, function)
        if not at_once:
            with self._lock:
                self._waiting.append((future, function))
                if self._threads >= self.max_workers:
                    return future
                self._threads += 1
            work = self._work
        try:
            threading.Thread(target=work, name="tool", daemon=True).start()
        except RuntimeError:
            # No further thread can start in this process: a tool started too many.
            self._give_back(future, function, at_once=at_once)
        return future

    def _give_back(self, future: Future[Any], function: Callable[[], Any], *, at_once: bool) -> None:
        with self._lock:
            if not at_once:
                self._threads -= 1
                if (future, function) not in self._waiting or self._threads > self._stuck:
                    # A thread that works has it, or will.
                    return
                self._waiting.remove((future, function))
        if future.set_running_or_notify_cancel():
            future.set_exception(Exhausted(Resource.THREADS))

    async def call(
        self, function: Callable[[], Result], *, timeout_seconds: float | None, at_once: bool = False
    ) -> Result:
        """Wait for a function; the time includes the wait for a thread.

        With `at_once` it waits for none: for what is short, and must not wait behind what is long.
        Raises `NotStarted` or `StillRunning` after the timeout, and `Exhausted`.
        """
        return await self.wait(self.submit(function, at_once=at_once), timeout_seconds=timeout_seconds)

    async def wait(self, future: Future[Result], *, timeout_seconds: float | None) -> Result:
        """Wait for a function that was submitted: see `call`."""
        try:
            async with asyncio.timeout(timeout_seconds):
                return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            self._abandon(future)
            raise
        except TimeoutError:
            # Ours; or the function's own, and then the next lines raise it again.
            pass
        if future.done() and not future.cancelled():
            return future.result()
        if self._abandon(future):
            raise NotStarted
        raise StillRunning

    def _abandon(self, future: Future[Any]) -> bool:
        """Stop waiting for a function. True if it had not begun and now never will."""
        if future.cancel():
            return True
        self.count_left_behind(future)
        return False

    def _note_return(self, _future: Future[Any]) -> None:
        self.count_lost(-1)

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._threads -= 1
                    return
                future, function = self._waiting.popleft()
            _fulfil(future, function)
            # An idle thread must not keep the last call's values alive.
            del future, function


def _fulfil(future: Future[Any], function: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(function())
    except StopIteration as error:
        # No future of asyncio carries one: it would never be done.
        future.set_exception(RuntimeError(f"StopIteration: {error}"))
    except BaseException as error:  # noqa: BLE001 - it is raised again where the future is awaited
        future.set_exception(error)
