"""The store of an agent that was given none: in memory, one for each event loop.

What stays true: nobody has to close it. It goes with its loop, or with its agent and the
threads that it answered.
"""

import asyncio
from collections.abc import AsyncGenerator
from weakref import WeakKeyDictionary, ref

from conversation.thread import Thread
from store.thread_store import IN_MEMORY, ThreadStore


class OwnStores:
    """The stores in memory of one agent."""

    def __init__(self) -> None:
        self._opened: dict[asyncio.AbstractEventLoop, tuple[AsyncGenerator[ThreadStore, None], ThreadStore]]
        self._opened = {}
        self._door: dict[asyncio.AbstractEventLoop, asyncio.Lock] = {}

    async def here(self) -> ThreadStore:
        """The store of the running loop."""
        loop = asyncio.get_running_loop()
        async with self._door.setdefault(loop, asyncio.Lock()):
            if loop not in self._opened:
                # A loop ends its asynchronous generators before it closes: that closes the store.
                life = _life(ref(self), loop)
                self._opened[loop] = life, await anext(life)
            return self._opened[loop][1]

    def live_for(self, thread: Thread) -> None:
        """Stay open as long as this working copy is there: another agent may go on with it."""
        _kept_for[thread] = self

    def forget(self, loop: asyncio.AbstractEventLoop) -> None:
        """The loop's store is closed."""
        self._opened.pop(loop, None)
        self._door.pop(loop, None)


_kept_for: "WeakKeyDictionary[Thread, OwnStores]" = WeakKeyDictionary()


async def _life(
    owner: "ref[OwnStores]", loop: asyncio.AbstractEventLoop
) -> AsyncGenerator[ThreadStore, None]:
    # It knows its owner weakly: in a circle, both would wait for the garbage collector.
    async with await ThreadStore.create(IN_MEMORY) as store:
        try:
            yield store
        finally:
            stores = owner()
            if stores is not None:
                stores.forget(loop)
