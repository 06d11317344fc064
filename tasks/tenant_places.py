"""The places of one worker process, shared out among tenants: none takes all of them beside others.

What stays true: nothing is asked for it: what runs here, and who was seen here, decide. A tenant alone takes every
place. A wake-up that gets no place is put back behind the others, so none is lost, and those of other tenants come to
the front. Only on the event loop.
"""

import asyncio
from collections import Counter, deque

from store.settings.units import TenantLimit
from tasks.neighbours import Neighbours

#: Seconds for which a wake-up waits for a place of its tenant before it is put back: so long it keeps a place from
#: others, and so often it goes round where only its tenant's wait.
PATIENCE_SECONDS = 1.0


class TenantPlaces:
    """The register of one process."""

    def __init__(self, places: int = 0, limit: TenantLimit = TenantLimit()) -> None:  # noqa: B008 - frozen
        """`places` is the number of turns that run at once; 0 for any."""
        #: The places of one tenant beside others; 0 for any number.
        self._most = limit.places_of(places) if places and limit.percent else 0
        self._taken: Counter[str] = Counter()
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}
        self._neighbours = Neighbours()

    async def take(self, tenant: str) -> bool:
        """Take a place for a tenant, waiting a moment for one; False where it has as many as it may."""
        self._neighbours.note(tenant)
        if self._is_full(tenant):
            return await self._wait(tenant)
        self._taken[tenant] += 1
        return True

    def give_back(self, tenant: str) -> None:
        """Give a tenant's place back: the wake-up that has waited for it longest goes on in it."""
        waiting = self._waiting.get(tenant)
        if waiting:
            waiting.popleft().set_result(None)
            return
        self._taken[tenant] -= 1
        if not self._taken[tenant]:
            del self._taken[tenant]

    def _is_full(self, tenant: str) -> bool:
        return bool(self._most) and self._taken[tenant] >= self._most and self._neighbours.has_others(tenant)

    async def _wait(self, tenant: str) -> bool:
        place = asyncio.get_running_loop().create_future()
        waiting = self._waiting.setdefault(tenant, deque())
        waiting.append(place)
        try:
            await asyncio.wait({place}, timeout=PATIENCE_SECONDS)
        except BaseException:
            if place.done():
                self.give_back(tenant)
            raise
        finally:
            if place in waiting:
                waiting.remove(place)
            if not waiting and self._waiting.get(tenant) is waiting:
                del self._waiting[tenant]
        return place.done()
