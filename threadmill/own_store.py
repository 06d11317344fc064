"""The store of an agent that was given none: in memory, one for each event loop.

What stays true: nobody has to close it. It goes with its loop, or with its agent.
"""

import asyncio
from collections.abc import AsyncGenerator

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
                life = self._open(loop)
                self._opened[loop] = life, await anext(life)
            return self._opened[loop][1]

    async def _open(self, loop: asyncio.AbstractEventLoop) -> AsyncGenerator[ThreadStore, None]:
        async with await ThreadStore.create(IN_MEMORY) as store:
            try:
                yield store
            finally:
                self._opened.pop(loop, None)
                self._door.pop(loop, None)
