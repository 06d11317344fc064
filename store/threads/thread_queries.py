"""The methods of `ThreadStore` that find threads and messages, and count them.

What stays true: a tenant sees its own threads only, whatever the filters say.
"""

from collections.abc import Mapping
from typing import Any

from store.open_store import OpenStore
from store.threads import counts, listing
from store.threads.counts import Stats
from store.threads.listing import Order, ThreadFilter, ThreadPage
from store.threads.search import Hit, search_messages


class ThreadQueries(OpenStore):
    """The methods of `ThreadStore` for listings, search and counts."""

    async def list_threads(
        self, *, limit: int | None = None, cursor: str | None = None, order: Order = "created", **filters: Any
    ) -> ThreadPage:
        """Threads without their messages, newest first; see `ThreadFilter` for the filters.

        Without `limit` all of them; with it a page, whose `next_cursor` leads on.
        """
        thread_filter = ThreadFilter(**self._own(filters))
        page = await self.database.run_async(
            listing.list_threads, filters=thread_filter, limit=limit, cursor=cursor, order=order
        )
        for thread in page:
            self._set_home(thread)
        return page

    async def find_threads(self, metadata: Mapping[str, Any] | None = None, **filters: Any) -> ThreadPage:
        """All threads whose metadata has these values, without their messages."""
        return await self.list_threads(metadata=metadata, **filters)

    async def search_messages(self, query: str, *, user: str | None = None, limit: int = 20) -> list[Hit]:
        """Messages with these words, best first, with the passage highlighted; with `user`, in their threads only."""
        return await self.database.run_async(search_messages, query=query, tenant=self.tenant, user=user, limit=limit)

    async def count(self, **filters: Any) -> int:
        """Count the threads that a listing with these filters would show."""
        thread_filter = ThreadFilter(**self._own(filters))
        return await self.database.run_async(listing.count, filters=thread_filter)

    async def stats(self) -> Stats:
        """Count everything that is stored: exactly, or about where there is too much of it; see `Stats.estimated`."""
        return await self.database.run_async(counts.stats, tenant=self.tenant)
