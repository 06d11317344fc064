"""The store of an agent that was given none: in memory, one for each event loop.

What stays true: nobody has to close it. It is closed when its loop ends, or, once its agent and the
threads that it answered are gone, when the next one is opened. No task of its own closes it: the end
of a loop would cancel that half way.
"""

import asyncio
from collections.abc import AsyncGenerator
from weakref import WeakKeyDictionary, finalize

from conversation.thread import Thread
from store.thread_store import IN_MEMORY, ThreadStore


class OwnStores:
    """The stores in memory of one agent."""

    def __init__(self) -> None:
        self._stores: WeakKeyDictionary[asyncio.AbstractEventLoop, ThreadStore] = WeakKeyDictionary()

    async def here(self) -> ThreadStore:
        """The store of the running loop."""
        loop = asyncio.get_running_loop()
        keeper = _keepers.get(loop)
        if keeper is None:
            keeper = _keepers[loop] = _Keeper()
        async with keeper.door:
            if loop not in self._stores:
                store = self._stores[loop] = await keeper.open()
                finalize(self, keeper.unused.append, store).atexit = False
            return self._stores[loop]

    def live_for(self, thread: Thread) -> None:
        """Stay open as long as this working copy is there: another agent may go on with it."""
        _kept_for[thread] = self


class _Keeper:
    """Closes what one loop's agents opened."""

    def __init__(self) -> None:
        self.door = asyncio.Lock()
        #: Their agents and threads are gone.
        self.unused: list[ThreadStore] = []
        self._open: list[ThreadStore] = []
        self._life: AsyncGenerator[None, None] | None = None

    async def open(self) -> ThreadStore:
        if self._life is None:
            # A loop ends its asynchronous generators before it closes.
            self._life = self._until_the_loop_ends()
            await anext(self._life)
        while self.unused:
            store = self.unused.pop()
            self._open.remove(store)
            await store.close()
        store = await ThreadStore.create(IN_MEMORY)
        self._open.append(store)
        return store

    async def _until_the_loop_ends(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            _keepers.pop(asyncio.get_running_loop(), None)
            for store in self._open:
                await store.close()


_kept_for: WeakKeyDictionary[Thread, OwnStores] = WeakKeyDictionary()
_keepers: WeakKeyDictionary[asyncio.AbstractEventLoop, _Keeper] = WeakKeyDictionary()
