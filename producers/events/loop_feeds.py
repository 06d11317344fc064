"""The feeds of one event loop, and what they share: a listener at the broker, a poll of the database.

What stays true: one connection listens to all topics, and one statement looks at all threads; both end with the last
feed. What came from the broker is dropped unless it was signed by a worker of this installation, and belongs to the
topic and the thread that it came for.
"""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Protocol

from conversation.backoff import add_jitter, backoff_seconds
from conversation.branch_address import row_id_of
from conversation.errors import DatabaseUnavailable
from producers.events.feed import Feed
from producers.events.rows import EventRows, Source, ThreadName
from producers.events.user_stream import UserThreads
from store.live.event_channel import Envelope, topic_of, unseal
from store.settings import Settings

if TYPE_CHECKING:
    from store.live.event_listener import EventListener

#: Seconds between two looks at all threads, without the broker: sooner while something changes.
POLL_SECONDS, POLL_MAX_SECONDS = 0.5, 2.0
#: With it: only a ring that was lost is not heard.
POLL_CONNECTED_SECONDS = 5.0
#: Seconds that the first read of a feed waits for the broker, so that nothing has to be read twice.
SUBSCRIBE_SECONDS = 0.3
#: Reads of rows at once: the pool has connections for others, too.
READS_AT_ONCE = 4


class Hearer(Protocol):
    """A subscriber of a topic."""

    def confirm(self) -> None:
        """Take up that the topic is listened to from now on."""
        ...

    def hear(self, envelope: Envelope) -> None:
        """Take up what came on the topic."""
        ...


class LoopFeeds:
    """All that is followed on one event loop."""

    def __init__(self, settings: Settings, rows: EventRows) -> None:
        self.rows = rows
        self._settings = settings
        self._feeds: dict[Source, Feed] = {}
        self._user_threads: dict[tuple[str, str], UserThreads] = {}
        self._hearers: dict[str, set[Hearer]] = {}
        self._read_slots = asyncio.Semaphore(READS_AT_ONCE)
        self._key: bytes | None = None
        self._key_lock = asyncio.Lock()
        self._listener: EventListener | None = None
        self._polling: asyncio.Task[None] | None = None
        #: Feeds whose threads were not looked at yet, and the task that does.
        self._unmarked: set[Feed] = set()
        self._marking: asyncio.Task[None] | None = None
        #: Tasks that were broken off, until they have ended.
        self._ending: set[asyncio.Task[Any]] = set()

    @contextmanager
    def use(self, source: Source) -> Iterator[Feed]:
        """Follow a source; the last that leaves it closes its feed."""
        feed = self._feeds.get(source)
        if feed is None:
            feed = self._feeds[source] = Feed(
                source, self.rows, prepare=self._prepare, refresh=self._refresh, read_slots=self._read_slots
            )
        feed.users += 1
        try:
            yield feed
        finally:
            feed.users -= 1
            if feed.users == 0:
                self._drop(feed)

    @contextmanager
    def use_user(self, tenant: str, user: str) -> Iterator[UserThreads]:
        """Follow a user's threads; the last that leaves ends their listing."""
        threads = self._user_threads.get((tenant, user))
        if threads is None:
            threads = self._user_threads[tenant, user] = UserThreads(tenant, user, self.rows, pause=self._poll_seconds)
        threads.users += 1
        try:
            yield threads
        finally:
            threads.users -= 1
            if threads.users == 0:
                if self._user_threads.get((tenant, user)) is threads:
                    del self._user_threads[tenant, user]
                threads.close()
                self._remove_hearer(topic_of("owner", tenant, user), threads)

    async def listen_to_user(self, threads: UserThreads) -> None:
        """Listen to what happens in a user's threads. Raises `DatabaseUnavailable`."""
        await self.load_key()
        self._add_hearer(topic_of("owner", threads.tenant, threads.user), threads)
        await self._wait_subscribed(threads.is_subscribed)

    async def load_key(self) -> None:
        """Load the key of the workers' signatures, once. Raises `DatabaseUnavailable`."""
        async with self._key_lock:
            if self._key is None:
                self._key = await self.rows.read_key()

    async def close(self) -> None:
        """End all feeds, and wait until the connection to the broker is closed."""
        for feed in self._feeds.values():
            feed.end()
        for threads in self._user_threads.values():
            threads.end()
        self._hearers.clear()
        listener, self._listener = self._listener, None
        self._stop_polling()
        if listener is not None:
            listener.close()
            await listener.wait_closed()
        # A read that was broken off gives its connection back, or closes it, before the pool is closed.
        await asyncio.gather(*self._ending, return_exceptions=True)

    async def _prepare(self, feed: Feed) -> None:
        """Listen to a feed's topic, then look at its thread: what changes after that is noticed."""
        await self.load_key()
        self._add_hearer(_topic_of(feed), feed)
        if self._polling is None:
            self._polling = asyncio.create_task(self._poll(), name="threadmill-event-poll")
        await self._wait_subscribed(feed.is_subscribed)
        self._unmarked.add(feed)
        if self._marking is None or self._marking.done():
            self._marking = asyncio.create_task(self._mark_all(), name="threadmill-event-marks")
        await asyncio.shield(self._marking)

    async def _wait_subscribed(self, is_subscribed: asyncio.Event) -> None:
        if self._listener is not None and not self._listener.is_away:
            with suppress(TimeoutError):
                async with asyncio.timeout(SUBSCRIBE_SECONDS):
                    await is_subscribed.wait()

    def _refresh(self, feed: Feed) -> None:
        if self._listener is not None:
            self._listener.refresh(_topic_of(feed))

    def _drop(self, feed: Feed) -> None:
        if self._feeds.get(feed.source) is feed:
            del self._feeds[feed.source]
        self._unmarked.discard(feed)
        self._break_off(*feed.close())
        self._remove_hearer(_topic_of(feed), feed)
        if not self._feeds:
            self._stop_polling()

    def _stop_polling(self) -> None:
        self._break_off(*(task for task in (self._polling, self._marking) if task is not None))
        self._polling = self._marking = None

    def _break_off(self, *tasks: asyncio.Task[Any]) -> None:
        for task in tasks:
            task.cancel()
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    def _add_hearer(self, topic: str, hearer: Hearer) -> None:
        if self._listener is None:
            from store.live.event_listener import EventListener

            self._listener = EventListener(self._settings, receive=self._receive, confirm=self._confirm)
        self._hearers.setdefault(topic, set()).add(hearer)
        if self._listener.follow(topic):
            hearer.confirm()

    def _remove_hearer(self, topic: str, hearer: Hearer) -> None:
        hearers = self._hearers.get(topic)
        if hearers is None:
            return
        hearers.discard(hearer)
        if not hearers:
            del self._hearers[topic]
            if self._listener is not None:
                self._listener.leave(topic)

    def _receive(self, topic: str, data: bytes) -> None:
        envelope = unseal(topic, data, self._key) if self._key is not None else None
        if envelope is not None:
            for hearer in tuple(self._hearers.get(topic, ())):
                hearer.hear(envelope)

    def _confirm(self, topic: str) -> None:
        for hearer in tuple(self._hearers.get(topic, ())):
            hearer.confirm()

    async def _mark_all(self) -> None:
        """Look at the threads that are new here, all together."""
        while self._unmarked:
            # Whoever begins in the same moment.
            await asyncio.sleep(0)
            feeds, self._unmarked = self._unmarked, set()
            marks = await self._peek(feeds)
            for feed in feeds:
                feed.mark = marks.get(feed.source.thread)

    async def _poll(self) -> None:
        """Look at all threads now and then: a ring may be lost, and the broker away."""
        quiet_count = 0
        while True:
            await asyncio.sleep(add_jitter(self._poll_seconds(quiet_count)))
            quiet_count += 1
            with suppress(DatabaseUnavailable):
                if await self._look_at_all():
                    quiet_count = 0

    def _poll_seconds(self, quiet_count: int = 2) -> float:
        if self._listener is not None and self._listener.is_connected:
            return POLL_CONNECTED_SECONDS
        return backoff_seconds(quiet_count, first=POLL_SECONDS, maximum=POLL_MAX_SECONDS)

    async def _look_at_all(self) -> bool:
        """Have the rows of those threads read that changed, or may have; whether there are any.

        The journal of a turn that runs leaves no mark.
        """
        feeds = {feed for feed in self._feeds.values() if feed.tail is not None}
        marks = await self._peek(feeds) if feeds else {}
        changed_feeds = [feed for feed in feeds if feed.running or marks.get(feed.source.thread) != feed.mark]
        for feed in changed_feeds:
            feed.mark = marks.get(feed.source.thread)
            feed.want_rows()
        return bool(changed_feeds)

    async def _peek(self, feeds: set[Feed]) -> Mapping[ThreadName, object]:
        return await self.rows.peek(sorted({feed.source.thread for feed in feeds}))


def _topic_of(feed: Feed) -> str:
    # A thread's topic has what happens on any of its branches.
    return topic_of("thread", feed.source.tenant, row_id_of(feed.source.thread_id))
