"""Calls of functions on an event loop that share transactions: what waits goes together, in one message and one commit.

What stays true: a call goes at once while few of its function are under way, and else waits for milliseconds, if a
connection is free by then. None fails for another's sake, or waits for a row that another one waits for: where a
transaction of several fails, or meets a row that somebody holds on to, it is rolled back, and each is called alone,
with limits of its own.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextvars import Context
from typing import Any, NamedTuple

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.util import greenlet_spawn

from store.database.function_calls import FunctionCall, call_on_loop
from store.database.limits import limits_sql
from store.database.retry_policy import is_of_connection
from store.settings import Settings

#: Calls of one transaction, at most: their values are in memory together.
TOGETHER_MAX = 8
#: Transactions of one function under way, from which on a further call waits for others that go with it.
BUSY = 2
#: Seconds that it waits for one of them to end, at most; then it goes as soon as a connection may be taken.
GATHER_SECONDS = 0.005
#: Seconds that a transaction of several calls waits for each row, at most: the others wait with it. It is what ends the
#: wait of two transactions for each other.
SHARED_LOCK_SECONDS = 0.05


def half_of_connections(settings: Settings) -> int:
    """Half of the connections of a process with these settings, at least one."""
    return max(1, (settings.db_pool_size + settings.db_max_overflow) // 2)


class _WaitingCall(NamedTuple):
    """A call whose value somebody waits for."""

    call: FunctionCall
    value: asyncio.Future[Any]

    def end(self, read: Callable[[], Any]) -> None:
        """Have the value read, and given to whoever waits."""
        if not self.value.done():
            try:
                self.value.set_result(read())
            except Exception as error:  # noqa: BLE001 - it was called, and its value is no other's matter
                self.fail(error)

    def fail(self, error: Exception) -> None:
        """Raise an error where it is waited for."""
        if not self.value.done():
            self.value.set_exception(error)


class CallQueue:
    """The calls of one function on one event loop."""

    def __init__(self, engine: Engine, settings: Settings, *, leaves_half: bool) -> None:
        """`engine` is the loop's, as `call_on_loop` takes it."""
        self._engine = engine
        all_connections = settings.db_pool_size + settings.db_max_overflow
        self._at_most = half_of_connections(settings) if leaves_half else all_connections
        self._busy = min(BUSY, self._at_most)
        shared_seconds = min(SHARED_LOCK_SECONDS, settings.db_lock_timeout_seconds)
        self._alone_sql, self._shared_sql = limits_sql(settings), limits_sql(settings, lock_seconds=shared_seconds)
        self._waiting: deque[_WaitingCall] = deque()
        #: Those whose transaction failed: they come first, one by one.
        self._alone: deque[_WaitingCall] = deque()
        self._under_way = 0
        #: Of transactions that nobody awaits by himself.
        self._tasks: set[asyncio.Task[None]] = set()
        #: Set while some wait.
        self._timer: asyncio.TimerHandle | None = None

    async def call(self, call: FunctionCall) -> Any:
        """Call the function; returns its value. Raises SQLAlchemy's errors, as `call_on_loop` does."""
        if self._under_way < self._busy:
            # Then none waits.
            return await self._call_now(call)
        value: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append(_WaitingCall(call, value))
        self._watch()
        return await value

    async def _call_now(self, call: FunctionCall) -> Any:
        self._under_way += 1
        try:
            (read,) = await greenlet_spawn(call_on_loop, self._engine, self._alone_sql, [call])
        finally:
            self._end_one()
        return read()

    @property
    def _is_awaited(self) -> bool:
        return bool(self._alone or self._waiting)

    def _end_one(self) -> None:
        self._under_way -= 1
        self._begin(self._busy)

    def _watch(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(GATHER_SECONDS, self._begin_late)

    def _begin_late(self) -> None:
        self._timer = None
        self._begin(self._at_most)
        if self._is_awaited:
            self._watch()

    def _begin(self, at_most: int) -> None:
        """Begin transactions for those that wait, as long as fewer than so many are under way."""
        while self._under_way < at_most and self._is_awaited:
            if members := self._take():
                self._under_way += 1
                # Of no turn's context: it is for several.
                task = asyncio.get_running_loop().create_task(self._run(members), context=Context())
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        if not self._is_awaited and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _take(self) -> list[_WaitingCall]:
        """Take those that go together next, in the order of their locks."""
        waiting, count = (self._alone, 1) if self._alone else (self._waiting, TOGETHER_MAX)
        taken = [waiting.popleft() for _ in range(min(count, len(waiting)))]
        # One that was cancelled waits no more.
        return sorted((each for each in taken if not each.value.done()), key=lambda each: each.call.locks)

    async def _run(self, members: list[_WaitingCall]) -> None:
        limits = self._shared_sql if len(members) > 1 else self._alone_sql
        calls = [member.call for member in members]
        try:
            readers = await greenlet_spawn(call_on_loop, self._engine, limits, calls)
        except asyncio.CancelledError:
            for member in members:
                member.value.cancel()
            raise
        except Exception as error:  # noqa: BLE001 - whose it is, each of them decides
            self._fail(members, error)
        else:
            for member, read in zip(members, readers, strict=True):
                member.end(read)
        finally:
            self._end_one()

    def _fail(self, members: list[_WaitingCall], error: Exception) -> None:
        is_everybodys = isinstance(error, DBAPIError | PoolTimeout) and is_of_connection(error)
        if len(members) == 1 or is_everybodys:
            for member in members:
                member.fail(error)
            return
        # Nothing of it was stored: it may be the fault of one, or of the order in which others lock.
        self._alone.extend(members)
        self._watch()
