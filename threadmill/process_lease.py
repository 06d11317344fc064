"""This process as a worker of its own library calls: one row and one heartbeat for all that run at once.

What stays true: the row is there before a call's turn is stored and goes after the last call is
over, so that a turn whose process died is told from one that is still at work.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from weakref import WeakKeyDictionary

from conversation.ids import new_id
from store.thread_store import ThreadStore
from store.turns import workers
from tasks.active_runs import Running, ThreadName
from tasks.heartbeat import Heartbeat

#: Seconds of the lease in a database that dies with its process.
FOR_EVER_SECONDS = 10.0**9


class Presence:
    """The calls of one event loop on one database."""

    def __init__(self) -> None:
        #: Its id in `workers`; a new one each time that the first call begins.
        self.process = ""
        self.running = Running()
        self._calls = 0
        self._door = asyncio.Lock()
        self._heartbeat: Heartbeat | None = None
        self._ends: defaultdict[ThreadName, asyncio.Event] = defaultdict(asyncio.Event)

    @asynccontextmanager
    async def entered(self, store: ThreadStore) -> AsyncIterator[None]:
        """Be here for the time of one call. Raises `DatabaseUnavailable`."""
        # Cancelled in the middle, a thread would go on beating for nobody.
        entering = asyncio.ensure_future(self._enter(store))
        try:
            await asyncio.shield(entering)
            yield
        finally:
            await asyncio.shield(asyncio.ensure_future(self._leave(store, entering)))

    async def _enter(self, store: ThreadStore) -> None:
        async with self._door:
            if self._calls == 0:
                await self._begin(store)
            self._calls += 1

    async def _leave(self, store: ThreadStore, entering: "asyncio.Future[None]") -> None:
        await asyncio.wait([entering])
        if entering.exception() is not None:
            return
        async with self._door:
            self._calls -= 1
            if self._calls == 0:
                await self._end(store)

    async def _begin(self, store: ThreadStore) -> None:
        self.process = new_id()
        if store.is_in_memory:
            await store.database.run_async(
                partial(
                    workers.register,
                    worker=self.process,
                    host="",
                    pid=0,
                    serves={},
                    lease_seconds=FOR_EVER_SECONDS,
                )
            )
            return
        loop = asyncio.get_running_loop()
        heartbeat = Heartbeat(self.process, store.settings, {}, self.running, loop)
        await asyncio.to_thread(heartbeat.start)
        self._heartbeat = heartbeat

    async def _end(self, store: ThreadStore) -> None:
        self._ends.clear()
        heartbeat, self._heartbeat = self._heartbeat, None
        if heartbeat is not None:
            await asyncio.to_thread(heartbeat.stop)
        else:
            await store.database.run_async(partial(workers.leave, worker=self.process))

    async def turn_ended(self, thread: ThreadName, *, within_seconds: float) -> None:
        """Return when a call of this process ended a turn of the thread, or after that time."""
        try:
            async with asyncio.timeout(within_seconds):
                await self._ends[thread].wait()
        except TimeoutError:
            return

    def tell_turn_ended(self, thread: ThreadName) -> None:
        """Wake the calls that wait for this thread."""
        waited_for = self._ends.pop(thread, None)
        if waited_for is not None:
            waited_for.set()


_presences: "WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Presence]]" = WeakKeyDictionary()


def presence_in(store: ThreadStore) -> Presence:
    """The presence that all calls of the running loop on this store's database share."""
    return _presences.setdefault(asyncio.get_running_loop(), {}).setdefault(store.identity, Presence())
