"""The store of an agent that was given none: in memory, one for each event loop.

What stays true: no caller has to close it. It is closed when its loop ends, or, once its agent and the
threads that it answered are gone, when the next one is opened. No task of its own closes it: the end
of a loop would cancel that half way.
"""

import asyncio
from collections.abc import AsyncGenerator
from weakref import WeakKeyDictionary, finalize

from conversation.thread import Thread
from store.thread_store import IN_MEMORY, ThreadStore


class MemoryStores:
    """The stores in memory of one agent."""

    def __init__(self) -> None:
        self._stores: WeakKeyDictionary[asyncio.AbstractEventLoop, ThreadStore] = WeakKeyDictionary()

    async def open_store(self) -> ThreadStore:
        """The store of the running loop, opened at the first call."""
        loop = asyncio.get_running_loop()
        loop_stores = _stores_by_loop.get(loop)
        if loop_stores is None:
            loop_stores = _stores_by_loop[loop] = _LoopStores()
        async with loop_stores.lock:
            if loop not in self._stores:
                store = self._stores[loop] = await loop_stores.open()
                finalize(self, loop_stores.unused_stores.append, store).atexit = False
            return self._stores[loop]

    def stay_open_for(self, thread: Thread) -> None:
        """Stay open as long as this working copy is there: another agent may go on with it."""
        _stores_by_thread[thread] = self


class _LoopStores:
    """The open stores of one loop's agents, which are closed with the loop."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        #: Stores whose agents and threads are gone.
        self.unused_stores: list[ThreadStore] = []
        self._open_stores: list[ThreadStore] = []
        self._loop_end_hook: AsyncGenerator[None, None] | None = None

    async def open(self) -> ThreadStore:
        if self._loop_end_hook is None:
            # A loop ends its asynchronous generators before it closes.
            self._loop_end_hook = self._close_at_loop_end()
            await anext(self._loop_end_hook)
        while self.unused_stores:
            store = self.unused_stores.pop()
            self._open_stores.remove(store)
            await store.close()
        store = await ThreadStore.create(IN_MEMORY)
        self._open_stores.append(store)
        return store

    async def _close_at_loop_end(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            _stores_by_loop.pop(asyncio.get_running_loop(), None)
            for store in self._open_stores:
                await store.close()


_stores_by_thread: WeakKeyDictionary[Thread, MemoryStores] = WeakKeyDictionary()
_stores_by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, _LoopStores] = WeakKeyDictionary()
