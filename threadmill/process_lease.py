"""The lease of a process on its own library calls: one worker row and one heartbeat for all of them.

What stays true: the row is there before a call's turn is stored and goes after the last call is
over, so that a turn whose process died is told from one that is still at work.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakKeyDictionary

from conversation.ids import new_id
from store.thread_store import ThreadStore
from store.turns import workers
from tasks.active_runs import ActiveRuns, ThreadName
from tasks.heartbeat import Heartbeat

#: Seconds of the lease in a database that dies with its process.
FOR_EVER_SECONDS = 10.0**9


class ProcessLease:
    """The lease that the calls of one event loop on one database share."""

    def __init__(self) -> None:
        #: Its id in `workers`; a new one each time that the first call begins.
        self.process_id = ""
        self.active_runs = ActiveRuns()
        self._calls = 0
        self._lock = asyncio.Lock()
        self._heartbeat: Heartbeat | None = None
        self._turn_end_events: defaultdict[ThreadName, asyncio.Event] = defaultdict(asyncio.Event)

    @asynccontextmanager
    async def hold(self, store: ThreadStore) -> AsyncIterator[None]:
        """Hold the lease for the time of one call. Raises `DatabaseUnavailable`."""
        # Cancelled in the middle, the heartbeat's thread would go on without a call.
        enter_task = asyncio.ensure_future(self._enter(store))
        try:
            await asyncio.shield(enter_task)
            yield
        finally:
            await asyncio.shield(asyncio.ensure_future(self._leave(store, enter_task)))

    async def _enter(self, store: ThreadStore) -> None:
        async with self._lock:
            if self._calls == 0:
                await self._begin(store)
            self._calls += 1

    async def _leave(self, store: ThreadStore, enter_task: "asyncio.Future[None]") -> None:
        await asyncio.wait([enter_task])
        if enter_task.exception() is not None:
            return
        async with self._lock:
            self._calls -= 1
            if self._calls == 0:
                await self._end(store)

    async def _begin(self, store: ThreadStore) -> None:
        self.process_id = new_id()
        if store.is_in_memory:
            await store.database.run_async(
                workers.register,
                worker=self.process_id,
                host="",
                pid=0,
                serves={},
                lease_duration_seconds=FOR_EVER_SECONDS,
            )
            return
        loop = asyncio.get_running_loop()
        heartbeat = Heartbeat(self.process_id, store.settings, {}, self.active_runs, loop)
        await asyncio.to_thread(heartbeat.start)
        self._heartbeat = heartbeat

    async def _end(self, store: ThreadStore) -> None:
        self._turn_end_events.clear()
        heartbeat, self._heartbeat = self._heartbeat, None
        if heartbeat is not None:
            await asyncio.to_thread(heartbeat.stop)
        else:
            await store.database.run_async(workers.unregister, worker=self.process_id)

    async def wait_for_turn_end(self, thread: ThreadName, *, within_seconds: float) -> None:
        """Return when a call of this process ended a turn of the thread, or after that time."""
        try:
            async with asyncio.timeout(within_seconds):
                await self._turn_end_events[thread].wait()
        except TimeoutError:
            return

    def notify_turn_end(self, thread: ThreadName) -> None:
        """Wake the calls that wait for this thread."""
        event = self._turn_end_events.pop(thread, None)
        if event is not None:
            event.set()


_process_leases: "WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, ProcessLease]]" = WeakKeyDictionary()


def shared_process_lease(store: ThreadStore) -> ProcessLease:
    """The lease that all calls of the running loop on this store's database share."""
    return _process_leases.setdefault(asyncio.get_running_loop(), {}).setdefault(store.identity, ProcessLease())
