"""A pool of an event loop's connections that are lent in the order of asking.

What stays true: a connection that is given back goes to whoever has waited longest. SQLAlchemy's own queue wakes that
one, and gives the connection to whoever asks before it runs: in a burst the first to ask may be the last to get one.
"""

import asyncio
from collections import deque

from sqlalchemy.pool import AsyncAdaptedQueuePool, ConnectionPoolEntry
from sqlalchemy.util import await_only
from sqlalchemy.util.queue import Empty, Full, QueueCommon


class FairQueue(QueueCommon[ConnectionPoolEntry]):
    """The connections of a pool that nobody has, and those who wait for one. Only on one event loop."""

    def __init__(self, maxsize: int = 0, use_lifo: bool = False) -> None:  # noqa: FBT001, FBT002 - SQLAlchemy's
        self.maxsize = maxsize
        self.use_lifo = use_lifo
        self._free: deque[ConnectionPoolEntry] = deque()
        #: Where there are any, none is free.
        self._waiting: deque[asyncio.Future[ConnectionPoolEntry]] = deque()

    def empty(self) -> bool:
        return not self._free

    def full(self) -> bool:
        return 0 < self.maxsize <= len(self._free)

    def qsize(self) -> int:
        return len(self._free)

    def get_nowait(self) -> ConnectionPoolEntry:
        if not self._free:
            raise Empty
        return self._free.pop() if self.use_lifo else self._free.popleft()

    def put_nowait(self, item: ConnectionPoolEntry) -> None:
        while self._waiting:
            waiter = self._waiting.popleft()
            # One that was cancelled waits no more.
            if not waiter.done():
                waiter.set_result(item)
                return
        if self.full():
            raise Full
        self._free.append(item)

    def get(self, block: bool = True, timeout: float | None = None) -> ConnectionPoolEntry:  # noqa: FBT001, FBT002
        if self._free or not block:
            return self.get_nowait()
        entry: ConnectionPoolEntry = await_only(self._wait(timeout))
        return entry

    def put(self, item: ConnectionPoolEntry, block: bool = True, timeout: float | None = None) -> None:  # noqa: FBT001, FBT002
        del block, timeout  # a pool puts back no more than fits
        self.put_nowait(item)

    async def _wait(self, timeout_seconds: float | None) -> ConnectionPoolEntry:
        waiter: asyncio.Future[ConnectionPoolEntry] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            async with asyncio.timeout(timeout_seconds):
                return await waiter
        except BaseException as error:
            if waiter.done() and not waiter.cancelled():
                # It came in the moment in which it was no longer waited for.
                self.put_nowait(waiter.result())
            if isinstance(error, TimeoutError):
                raise Empty from error
            raise


class FairPool(AsyncAdaptedQueuePool):
    """A pool whose connections are lent in the order of asking."""

    _queue_class = FairQueue
