"""The events of all threads of one user, in one stream.

What stays true: each thread's events come in their order, and each with a cursor from which another connection goes
on. That is exact, without gap and without repeat, for the fifty threads that were used last, of which nothing was
committed more than half a minute after its transaction wrote it; of messages that belong to no turn, those
are shown that were made since. Whose threads they are is read from rows: what came from the broker only says
that they are to be listed again.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractContextManager, ExitStack, suppress
from datetime import datetime, timedelta

from conversation.branch_address import split_address
from conversation.errors import ThreadNotFound
from conversation.events import MessageDone, ThreadDeleted, ThreadEvent, number_of_end, number_of_start
from producers.events.feed import Feed
from producers.events.follow import Follower
from producers.events.patience import insist
from producers.events.rows import EventRows, Source
from producers.events.user_cursor import CURSOR_THREADS_MAX, UserCursor, name_thread
from store.live.event_channel import Envelope
from store.turns.user_threads import ActiveThread, ActiveThreads

#: Follows a source: gives its feed.
UseFeed = Callable[[Source], AbstractContextManager[Feed]]
#: Time that a transaction may take from its writing to its commit.
MARGIN = timedelta(seconds=30)
#: Seconds between two listings of a user's threads, at least.
LIST_AGAIN_SECONDS = 0.05


class UserThreads:
    """The active threads of one user, listed once for all who follow them on an event loop."""

    def __init__(self, tenant: str, user: str, rows: EventRows, *, pause: Callable[[], float]) -> None:
        """`pause` gives the seconds between two listings where nothing was heard."""
        self.tenant = tenant
        self.user = user
        self.users = 0
        self.wakes: set[asyncio.Event] = set()
        self.active: ActiveThreads | None = None
        #: An error of our own, which ended the listing.
        self.failure: Exception | None = None
        self.is_closed = False
        self.is_subscribed = asyncio.Event()
        self._rows = rows
        self._pause = pause
        self._ids: set[str] = set()
        self._wanted = asyncio.Event()
        self._listing: asyncio.Task[None] | None = None

    def confirm(self) -> None:
        """Take up that workers are heard from now on."""
        self.is_subscribed.set()
        self._wanted.set()

    def hear(self, envelope: Envelope) -> None:
        """Take up that something happens in a thread, perhaps one of this user's that is not known yet."""
        if split_address(envelope.thread_id)[0] not in self._ids:
            self._wanted.set()

    def start(self, active: ActiveThreads) -> None:
        """List the threads now and then from a first listing on, which somebody made."""
        if self._listing is None:
            self._take(active)
            self._listing = asyncio.create_task(self._keep_listing(), name="threadmill-user-threads")

    async def list_since(self, moment: datetime | None) -> ActiveThreads:
        """List the threads that were in use since a moment, or lately. Raises `DatabaseUnavailable`."""
        return await self._rows.list_active(
            self.tenant, self.user, since=moment, margin=MARGIN, limit=CURSOR_THREADS_MAX
        )

    def end(self) -> None:
        """Let all followers go: the hub is closed."""
        self.is_closed = True
        self.close()
        self._wake_all()

    def close(self) -> None:
        """List no more."""
        if self._listing is not None:
            self._listing.cancel()

    def _take(self, active: ActiveThreads) -> None:
        self.active = active
        self._ids = {thread.id for thread in active.threads}
        self._wake_all()

    async def _keep_listing(self) -> None:
        try:
            while True:
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._pause()):
                        await self._wanted.wait()
                self._wanted.clear()
                self._take(await insist(self._list_next, None))
                await asyncio.sleep(LIST_AGAIN_SECONDS)
        except Exception as error:  # noqa: BLE001 - an error of ours, which followers raise
            self.failure = error
            self._wake_all()

    async def _list_next(self) -> ActiveThreads:
        return await self.list_since(self.active.moment if self.active is not None else None)

    def _wake_all(self) -> None:
        for wake in self.wakes:
            wake.set()


class UserFollower:
    """One viewer of a user's threads."""

    def __init__(self, threads: UserThreads, use_feed: UseFeed, wake: asyncio.Event) -> None:
        self._threads = threads
        self._use_feed = use_feed
        self._wake = wake
        self._active: ActiveThreads | None = None
        self._listed_ids: set[str] = set()
        self._moment: datetime | None = None
        self._streams: dict[str, _ThreadStream] = {}

    async def begin(self, cursor: UserCursor | None) -> None:
        """Begin where a cursor says, or now. Raises `DatabaseUnavailable`."""
        earlier = self._threads.active
        active = await self._threads.list_since(cursor.moment if cursor is not None else None)
        # The next listing goes back to the last one: what is over since then is none of this viewer's.
        over = await self._threads.list_since(earlier.moment) if earlier is not None else active
        self._moment = active.moment
        for thread in active.threads:
            if cursor is None:
                self._add(thread, _behind(thread, thread.open_fencing_token), since=active.moment)
            else:
                after = cursor.numbers.get(name_thread(thread.id), _behind(thread, thread.first_fencing_token))
                self._add(thread, after, since=cursor.moment - MARGIN)
        for thread in over.threads:
            if thread.id not in self._streams:
                self._add(thread, _behind(thread, None), since=active.moment)
        self._threads.start(active)

    async def next_event(self) -> ThreadEvent | None:
        """The next event; None where there is none yet. Raises `DatabaseUnavailable`."""
        if self._threads.failure is not None:
            raise self._threads.failure
        self._take_listing()
        for thread_id, stream in list(self._streams.items()):
            event = await self._next_of(thread_id, stream)
            if event is not None:
                # The others come first the next time.
                if thread_id in self._streams:
                    self._streams[thread_id] = self._streams.pop(thread_id)
                return event
        return None

    def cursor(self) -> UserCursor:
        """Where another connection goes on."""
        assert self._moment is not None
        numbers = {name_thread(thread_id): stream.follower.number for thread_id, stream in self._streams.items()}
        return UserCursor(self._moment, numbers)

    def close(self) -> None:
        """Leave all threads."""
        for stream in self._streams.values():
            stream.close()
        self._streams.clear()

    async def _next_of(self, thread_id: str, stream: "_ThreadStream") -> ThreadEvent | None:
        try:
            event = await stream.next_event()
        except ThreadNotFound:
            event = None
            stream.follower.is_over = True
        is_listed = self._active is None or thread_id in self._listed_ids
        is_quiet = event is None and (stream.follower.is_over or not is_listed)
        # A thread that runs and is not listed is this user's no more.
        if is_quiet or isinstance(event, ThreadDeleted) or (not is_listed and stream.feed.running is not None):
            del self._streams[thread_id]
            stream.close()
        return event

    def _take_listing(self) -> None:
        active = self._threads.active
        if active is None or active is self._active or self._moment is None:
            return
        for thread in active.threads:
            if thread.id not in self._streams:
                self._add(thread, _behind(thread, thread.first_fencing_token), since=self._moment)
        self._active = active
        self._listed_ids = {thread.id for thread in active.threads}
        self._moment = max(self._moment, active.moment)

    def _add(self, thread: ActiveThread, after: int, *, since: datetime) -> None:
        source = Source(self._threads.tenant, thread.id)
        self._streams[thread.id] = _ThreadStream(self._use_feed(source), after, since, self._wake)


class _ThreadStream:
    """A thread within a user's stream."""

    def __init__(self, feed: AbstractContextManager[Feed], after: int, since: datetime, wake: asyncio.Event) -> None:
        self._stack = ExitStack()
        self.feed = self._stack.enter_context(feed)
        self.feed.wakes.add(wake)
        self._stack.callback(self.feed.wakes.discard, wake)
        self.follower = Follower(self.feed, after)
        self._since = since

    async def next_event(self) -> ThreadEvent | None:
        """The next event that is not older than the stream."""
        while (event := await self.follower.next_event()) is not None:
            if not isinstance(event, MessageDone) or event.turn_id is not None:
                break
            if event.message.created_at >= self._since:
                break
        return event

    def close(self) -> None:
        self._stack.close()


async def follow_user_threads(
    threads: UserThreads, use_feed: UseFeed, cursor: UserCursor | None, *, patience: float | None
) -> AsyncGenerator[tuple[str, ThreadEvent], None]:
    """Follow all threads of a user. Raises `DatabaseUnavailable` as `follow`."""
    wake = asyncio.Event()
    threads.wakes.add(wake)
    follower = UserFollower(threads, use_feed, wake)
    try:
        await insist(lambda: follower.begin(cursor), patience)
        while not threads.is_closed:
            wake.clear()
            event = await insist(follower.next_event, None)
            if event is not None:
                yield follower.cursor().write(), event
            else:
                await wake.wait()
    finally:
        threads.wakes.discard(wake)
        follower.close()


def _behind(thread: ActiveThread, fence: int | None) -> int:
    """The number behind which the events of a claim come; without one, those that no worker has begun yet."""
    return number_of_end(thread.fencing_token) if fence is None else max(0, number_of_start(fence) - 1)
