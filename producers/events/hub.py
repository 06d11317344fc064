"""The hub: follows the events of any number of threads for any number of viewers.

What stays true: an event loop has one listener at the broker, one poll of the database and one feed for each
source, however many look; the last viewer of a feed takes it along, and the last of all leaves no task behind.
"""

import asyncio
from collections.abc import AsyncGenerator
from typing import Protocol
from weakref import WeakKeyDictionary

from conversation.arguments import check_whole_number
from conversation.branch_address import check_address
from conversation.events import ThreadEvent
from conversation.validation import check_id, check_tenant
from producers.events.follow import follow
from producers.events.loop_feeds import LoopFeeds
from producers.events.patience import insist
from producers.events.rows import DatabaseRows, EventRows, Source
from producers.events.user_cursor import read_user_cursor
from producers.events.user_stream import follow_user_threads
from store.database.engine import Database
from store.settings import Settings

#: The highest number of an event: JavaScript counts to it.
NUMBER_MAX = (1 << 53) - 1


class Installation(Protocol):
    """The settings and the database of a producer."""

    settings: Settings
    database: Database


class EventHub:
    """The viewers of one producer's threads, on whichever event loops they are."""

    def __init__(self, connections: Installation, *, rows: EventRows | None = None) -> None:
        self._settings = connections.settings
        self._rows = rows or DatabaseRows(connections.database)
        self._feeds: WeakKeyDictionary[asyncio.AbstractEventLoop, LoopFeeds] = WeakKeyDictionary()

    async def follow_thread(
        self, tenant: str, thread_id: str, *, after: int = 0, patience: float | None = None
    ) -> AsyncGenerator[ThreadEvent, None]:
        """The events of a thread behind a number, and those that come, without end.

        The first `after` is 0, a later one the number of the last event that was seen: then nothing is left out and
        nothing comes twice, not even of a text that is being written. Raises `ThreadNotFound`, and
        `DatabaseUnavailable` where the database is away for longer than `patience` seconds at the beginning.
        Who has begun waits for it.
        """
        source = Source(check_tenant(tenant), check_address("thread_id", thread_id))
        with self.feeds.use(source) as feed:
            async for event in follow(feed, check_after(after), patience=patience):
                yield event

    async def follow_turn(
        self, source: Source, *, after: int = 0, patience: float | None = None
    ) -> AsyncGenerator[ThreadEvent, None]:
        """The events of a turn, as `follow_thread`, until it has ended: then at once. Raises `TurnNotFound`."""
        with self.feeds.use(source) as feed:
            async for event in follow(feed, check_after(after), patience=patience):
                yield event

    async def follow_user(
        self, tenant: str, user: str, *, cursor: str | None = None, patience: float | None = None
    ) -> AsyncGenerator[tuple[str, ThreadEvent], None]:
        """The events of all threads of a user, from a cursor on or from now, each with the cursor behind it.

        Without a cursor, turns that run are shown from their beginning. How exact it is, `user_stream` says. Raises
        `InvalidInput` for a cursor that is none, and `DatabaseUnavailable` as `follow_thread`.
        """
        begin = read_user_cursor(cursor) if cursor is not None else None
        feeds = self.feeds
        with feeds.use_user(check_tenant(tenant), check_id("user", user)) as threads:
            await insist(lambda: feeds.listen_to_user(threads), patience)
            async for item in follow_user_threads(threads, feeds.use, begin, patience=patience):
                yield item

    @property
    def feeds(self) -> LoopFeeds:
        """The feeds of the running event loop."""
        loop = asyncio.get_running_loop()
        feeds = self._feeds.get(loop)
        if feeds is None:
            # What a loop left keeps it alive.
            for closed_loop in [each for each in self._feeds if each.is_closed()]:
                self._feeds.pop(closed_loop, None)
            feeds = self._feeds[loop] = LoopFeeds(self._settings, self._rows)
        return feeds

    async def close_async(self) -> None:
        """End what is followed on the running event loop, and close its connections."""
        feeds = self._feeds.pop(asyncio.get_running_loop(), None)
        if feeds is not None:
            await feeds.close()


def check_after(value: object) -> int:
    """The number of an event, or 0. Raises `InvalidInput`."""
    return check_whole_number("after", value, maximum=NUMBER_MAX, fix="pass the number of an event, or 0")
