"""The events of one thread, or of one turn, as a process follows them: read once, however many look.

What stays true: durable events come from rows alone; a ring, a poll or a connection that is back only says that they
are read again. The newest of them are kept here, and the reply that is being written; whoever is further behind
reads rows for itself. Only on one event loop.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from itertools import chain
from typing import Any

from conversation.branch_address import row_id_of, split_address
from conversation.errors import ThreadNotFound, TurnNotFound
from conversation.events import END_SLOT, POSITION_BITS, START_SLOT, WAITING_NOTICES, TurnEnded
from producers.events.patience import insist
from producers.events.piece import Piece
from producers.events.rows import EventRows, Source
from producers.events.tail import Tail
from store.live.event_channel import Deltas, Envelope, OpenPiece, Ring
from store.turns.event_rows import EventPage
from store.turns.notices import Notice

#: A page of rows that is being read, and up to which number the feed had read before.
PageTask = asyncio.Task[tuple[EventPage, int]]
#: Ends of turns that no worker began, which a feed keeps.
ENDINGS_MAX = 100
#: Seconds between two reads of one feed, at least: rings that come meanwhile are one.
READ_AGAIN_SECONDS = 0.02
#: The same at most, doubled from one read to the next that finds nothing: whoever can publish can ring.
READ_AGAIN_MAX_SECONDS = 0.32
#: Seconds between two requests for the reply that is being written.
REFRESH_AGAIN_SECONDS = 0.5


class _ReadPause:
    """The seconds between two reads of a feed, whatever asks for them."""

    def __init__(self) -> None:
        self._seconds = READ_AGAIN_SECONDS

    def choose(self, page: EventPage) -> float:
        """The seconds until the rows may be read again, behind this page."""
        longer = min(2 * self._seconds, READ_AGAIN_MAX_SECONDS)
        self._seconds = READ_AGAIN_SECONDS if page.events else longer
        return self._seconds


class _RefreshPause:
    """The seconds between two requests for the reply that is being written."""

    def __init__(self) -> None:
        self._asked_at = float("-inf")

    def is_over(self) -> bool:
        """Whether the next request may go out, which then does."""
        now = time.monotonic()
        if now - self._asked_at < REFRESH_AGAIN_SECONDS:
            return False
        self._asked_at = now
        return True


class Feed:
    """The state of one source, which its followers share."""

    def __init__(
        self,
        source: Source,
        rows: EventRows,
        *,
        prepare: Callable[["Feed"], Awaitable[None]],
        refresh: Callable[["Feed"], None],
        read_slots: asyncio.Semaphore,
    ) -> None:
        """`prepare` is awaited before the first read, `refresh` asks for the reply that is being written."""
        self.source = source
        #: How many follow.
        self.users = 0
        #: Set by a change, each of them a follower's own.
        self.wakes: set[asyncio.Event] = set()
        #: The newest durable events; None before rows were read.
        self.tail: Tail | None = None
        #: The turn that is under way.
        self.running: str | None = None
        self.is_deleted = False
        #: Of a turn: its end was read.
        self.is_over = False
        self.is_closed = False
        #: An error of our own, which ended the reading.
        self.failure: Exception | None = None
        #: The mark of the thread's rows when they were looked at last.
        self.mark: object = None
        self.is_subscribed = asyncio.Event()
        self._rows = rows
        self._prepare = prepare
        self._refresh = refresh
        self._read_slots = read_slots
        self._is_prepared = False
        #: Rows have more than what was read last.
        self._has_more = False
        self._piece: Piece | None = None
        #: The id of the row that is read: of the branch that is chosen, or of the only one that was asked for.
        self._row_id = row_id_of(source.thread_id)
        self._waiting: tuple[Notice, ...] = ()
        #: Turns that waited, and ended without beginning.
        self._endings: dict[str, TurnEnded] = {}
        self._wanted = asyncio.Event()
        self._pages: dict[int, PageTask] = {}
        self._refresh_pause, self._read_pause = _RefreshPause(), _ReadPause()
        self._reading: asyncio.Task[None] | None = None

    @property
    def notices(self) -> Iterable[Notice]:
        """Notices to followers, which have no number."""
        return chain(self._waiting, self._endings.values())

    @property
    def open_piece(self) -> Piece | None:
        """The reply that is being written, where nothing in the rows comes after its beginning."""
        piece = self._piece
        if piece is None or self.tail is None or self.tail.read_to > piece.base or self._has_more:
            return None
        return piece if piece.is_confirmed or _follows_beginning(self.tail.read_to, piece.base) else None

    def want_rows(self) -> None:
        """Have the rows read soon."""
        self._wanted.set()

    def confirm(self) -> None:
        """Take up that workers are heard from now on: what they said before is in the rows."""
        self.is_subscribed.set()
        if self._is_prepared:
            self.want_rows()

    def hear(self, envelope: Envelope) -> None:
        """Take up what a worker published."""
        if split_address(envelope.thread_id)[0] != split_address(self.source.thread_id)[0]:
            return
        match envelope:
            case Ring(number=number):
                # One of another branch may have come with a switch to it.
                is_other = envelope.thread_id != self._row_id
                if is_other or number == 0 or self.tail is None or number > self.tail.read_to:
                    self.want_rows()
            case Deltas() | OpenPiece() if envelope.thread_id == self._row_id:
                # Of a turn that was merged, the one that answers it is told.
                if self.source.turn_id in (None, envelope.turn_id) or self.running == envelope.turn_id:
                    self._hear_reply(envelope)

    async def read_page(self, after: int) -> tuple[EventPage, int]:
        """Read events behind a number: once, where several ask at the same time. Raises as `EventRows`.

        Also gives the number up to which the feed had read before: the last page has all up to there.
        """
        page_task = self._pages.get(after)
        if page_task is None:
            page_task = self._pages[after] = asyncio.create_task(self._read_after(after))
            page_task.add_done_callback(lambda task: _forget_page(self._pages, after, task))
        page, read_to = await asyncio.shield(page_task)
        # What a client says is no number that rows have: an empty page may be far behind the thread's end.
        if self.tail is None and not page.has_more and (page.events or after == 0):
            self._begin(page, after)
        return page, read_to

    def end(self) -> None:
        """Let all followers go: the hub is closed."""
        self.is_over = self.is_closed = True
        self._wake_all()

    def close(self) -> list[asyncio.Task[Any]]:
        """Stop reading: nobody follows any more. Returns the tasks that were broken off."""
        tasks = [task for task in (self._reading, *self._pages.values()) if task is not None]
        for task in tasks:
            task.cancel()
        return tasks

    async def _read_after(self, after: int) -> tuple[EventPage, int]:
        # Noted here, where the reading begins: whoever joins it later must not think that it is newer.
        read_to = self.tail.read_to if self.tail is not None else 0
        return await self._read(after), read_to

    async def _read(self, after: int) -> EventPage:
        if not self._is_prepared:
            await self._prepare(self)
            self._is_prepared = True
        async with self._read_slots:
            return await self._rows.read_page(self.source, after)

    def _begin(self, page: EventPage, after: int) -> None:
        """Go on from here as the rows change."""
        self.tail = Tail(after)
        self._take(page, self.tail)
        if not self.is_over:
            self._reading = asyncio.create_task(self._keep_reading(self.tail), name="threadmill-feed")

    async def _keep_reading(self, tail: Tail) -> None:
        try:
            while not self.is_over:
                await self._wanted.wait()
                await self._read_more(tail)
        except (ThreadNotFound, TurnNotFound):
            self.is_deleted = True
        except Exception as error:  # noqa: BLE001 - an error of ours, which followers raise
            self.failure = error
        self._wake_all()

    async def _read_more(self, tail: Tail) -> None:
        """Read what is new in the rows, however long the database is away."""
        self._wanted.clear()
        # Whatever comes before a reply was committed before its first delta was published.
        piece = self._piece
        page = await insist(lambda: self._read(tail.read_to), None)
        if page.switch is not None and 0 < tail.read_to < page.switch.number:
            # Of another branch than the one to which the thread was switched.
            tail.forget_before(page.switch.number)
            self._piece, self._waiting, self._endings = None, (), {}
            page = await insist(lambda: self._read(tail.read_to), None)
        self._endings |= await insist(lambda: self._read_endings(page), None)
        self._take(page, tail)
        if page.has_more:
            self.want_rows()
            return
        if piece is not None:
            piece.is_confirmed = True
        self._wake_all()
        await asyncio.sleep(self._read_pause.choose(page))

    async def _read_endings(self, page: EventPage) -> dict[str, TurnEnded]:
        """The ends of turns that waited, and neither wait nor began."""
        if self.source.turn_id is not None or page.has_more:
            return {}
        here = {page.running, *(each.turn_id for each in (*page.notices, *page.events))}
        gone = {notice.turn_id for notice in self._waiting} - here
        return await _find_endings(self._rows, [replace(self.source, turn_id=turn_id) for turn_id in gone])

    def _take(self, page: EventPage, tail: Tail) -> None:
        tail.add(page.events)
        self._row_id = page.address or self._row_id
        self._has_more = page.has_more
        if not page.has_more:
            self._waiting, self.running = page.notices, page.running
            _forget_oldest(self._endings)
            is_waiting = any(isinstance(notice, WAITING_NOTICES) for notice in page.notices)
            self.is_over = self.source.turn_id is not None and page.running is None and not is_waiting
        self._wake_all()

    def _hear_reply(self, envelope: Deltas | OpenPiece) -> None:
        read_to = self.tail.read_to if self.tail is not None else 0
        if envelope.base < max(read_to, self._piece.base if self._piece is not None else 0):
            return
        if self._piece is None or self._piece.base < envelope.base:
            self._piece = Piece(replace(envelope, thread_id=split_address(self.source.thread_id)[0]))
            if not _follows_beginning(read_to, envelope.base):
                self.want_rows()
        if not self._piece.take(envelope) and self._refresh_pause.is_over():
            # A delta was lost: a worker publishes the whole reply.
            self._refresh(self)
        self._wake_all()

    def _wake_all(self) -> None:
        for wake in self.wakes:
            wake.set()


def _forget_page(pages: dict[int, PageTask], after: int, page_task: PageTask) -> None:
    pages.pop(after, None)
    if not page_task.cancelled():
        # It may be that nobody waits for it any more.
        page_task.exception()


def _forget_oldest(endings: dict[str, TurnEnded]) -> None:
    while len(endings) > ENDINGS_MAX:
        del endings[next(iter(endings))]


async def _find_endings(rows: EventRows, sources: Iterable[Source]) -> dict[str, TurnEnded]:
    """The notices of turns that ended without beginning."""
    endings: dict[str, TurnEnded] = {}
    for source in sources:
        with suppress(TurnNotFound):
            page = await rows.read_page(source, 0)
            ends = (page.merged,) if page.merged is not None else page.notices
            endings |= {notice.turn_id: notice for notice in ends if isinstance(notice, TurnEnded)}
    return endings


def _follows_beginning(read_to: int, base: int) -> bool:
    """Whether a reply is the first of an attempt whose beginning was read, with what was asked: nothing comes between.

    Between later slots results of tools may come, which another read than that of their calls has.
    """
    return (read_to >> POSITION_BITS) & END_SLOT == START_SLOT and (base >> POSITION_BITS) - (
        read_to >> POSITION_BITS
    ) == 1
