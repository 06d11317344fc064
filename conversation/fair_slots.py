"""Slots for what may be done only so often at once, shared out among tenants.

What stays true: a slot that becomes free goes to the tenants that wait, one after the other, however many of one wait;
a slot is given to one who still waits, or is free. Only on one event loop.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class FairSlots:
    """So many slots of one process."""

    def __init__(self, count: int) -> None:
        self._free = count
        #: Those who wait, by tenant; the tenant whose turn it is comes first.
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    @asynccontextmanager
    async def take(self, tenant: str) -> AsyncIterator[None]:
        """Hold a slot for as long as the work inside takes, after waiting for it."""
        await self._wait(tenant)
        try:
            yield
        finally:
            self._give_back()

    async def _wait(self, tenant: str) -> None:
        if self._free:
            self._free -= 1
            return
        slot = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(tenant, deque()).append(slot)
        try:
            await slot
        except BaseException:
            if slot.done() and not slot.cancelled():
                self._give_back()
            raise

    def _give_back(self) -> None:
        while self._waiting:
            tenant = next(iter(self._waiting))
            waiting = self._waiting.pop(tenant)
            slot = waiting.popleft()
            if waiting:
                self._waiting[tenant] = waiting
            # One that was cancelled waits no more.
            if not slot.done():
                slot.set_result(None)
                return
        self._free += 1
