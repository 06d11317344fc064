"""One viewer of a feed: the place that they have come to, and what comes next.

What stays true: numbers strictly rise for each viewer, whatever is lost, late or doubled on its way; nothing is kept
for a viewer who is slow but their place, and one page of rows where they are behind.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator

from conversation.errors import ThreadNotFound, TurnNotFound
from conversation.events import (
    DONE_POSITION,
    MessageDone,
    MessageRestarted,
    ThreadDeleted,
    ThreadEvent,
    TurnDecided,
    TurnEnded,
    TurnStarted,
    fence_of,
    number_of_start,
)
from producers.events.feed import Feed
from producers.events.patience import insist
from producers.events.piece import Piece
from store.turns.event_rows import EventPage
from store.turns.notices import Notice


class Follower:
    """A viewer of one feed."""

    def __init__(self, feed: Feed, after: int) -> None:
        """`after` is the number of the last event that the viewer has seen."""
        self.feed = feed
        #: The number of the last event that was shown.
        self.number = after
        #: Something was read for this viewer: from now on they wait for a database that is away.
        self.has_begun = False
        #: Nothing follows any more.
        self.is_over = False
        #: The number up to which rows are known.
        self._position = self._begin_position()
        #: The number of the newest switch that was there when this viewer had seen nothing, or that they were shown.
        self._known_switch = 0
        self._backlog: deque[ThreadEvent] = deque()
        #: The reply that the viewer has seen some of.
        self._piece: Piece | None = None
        self._notices: dict[str, Notice] = {}

    async def next_event(self) -> ThreadEvent | None:
        """The next event; None where there is none yet, or `is_over`. Raises as `EventRows`."""
        try:
            while not self._has_backlog() and self._is_behind():
                await self._read_backlog()
        except (ThreadNotFound, TurnNotFound):
            if not self.has_begun:
                raise
            self.feed.is_deleted = True
        self.has_begun = True
        event = self._next_event()
        if event is not None and event.number is not None:
            self.number = event.number
        return event

    def _has_backlog(self) -> bool:
        while self._backlog and (self._backlog[0].number or 0) <= self.number:
            self._backlog.popleft()
        return bool(self._backlog)

    def _begin_position(self) -> int:
        tail = self.feed.tail
        if tail is not None and self.number >= tail.begins_after:
            return min(self.number, tail.read_to)
        # A viewer's number may be one that rows do not have: the beginning of its turn is.
        return 0 if self.feed.source.turn_id is not None else number_of_start(fence_of(self.number))

    def _is_behind(self) -> bool:
        """Whether rows have to be read for this viewer."""
        tail = self.feed.tail
        return not self.feed.is_closed and (tail is None or self._position < tail.begins_after)

    async def _read_backlog(self) -> None:
        """Read one page of what the feed keeps no more, or has not read yet."""
        has_begun = self.feed.tail is not None
        page, read_to = await self.feed.read_page(self._position)
        if self._skip_to_switch(page):
            return
        self.has_begun = True
        self._backlog.extend(event for event in page.events if (event.number or 0) > self.number)
        if page.events:
            self._position = max(self._position, page.events[-1].number or 0)
        elif not has_begun and not page.has_more:
            # Rows have nothing there, or no such number: how far they go is still to be seen.
            self._position = 0
        if not page.has_more:
            self._position = max(self._position, read_to)

    def _skip_to_switch(self, page: EventPage) -> bool:
        """Leave out what comes before a switch, for a viewer who has seen events of another branch."""
        number = page.switch.number if page.switch is not None else 0
        if number <= self._known_switch:
            return False
        self._known_switch = number
        if not 0 < self.number < number:
            return False
        self._position = number - 1
        self._backlog.clear()
        self._piece = None
        return True

    def _next_event(self) -> ThreadEvent | None:
        event = self._next_durable()
        if event is None and (event := self._next_notice()) is None:
            event = self._next_of_reply()
        if event is None:
            event = self._next_at_end()
        return event

    def _next_durable(self) -> ThreadEvent | None:
        event = self._backlog[0] if self._backlog else None
        if event is None and self.feed.tail is not None:
            event = self.feed.tail.next_event(self.number)
        match event:
            case MessageDone():
                return self._complete_reply(event) or event
            case TurnStarted():
                self._notices.pop(event.turn_id, None)
        return event

    def _complete_reply(self, message_done: MessageDone) -> ThreadEvent | None:
        """The event before a whole message that makes its deltas its text, or voids them."""
        piece, self._piece = self._piece, None
        if piece is not None and piece.message_id == message_done.message.id:
            return piece.complete(message_done, self.number)
        number = message_done.number - 1
        has_seen_some = message_done.number - DONE_POSITION < self.number < number
        if not has_seen_some or message_done.message.role != "assistant" or message_done.turn_id is None:
            return None
        # What it was that the viewer saw before they came, nobody knows any more.
        return MessageRestarted(
            thread_id=message_done.thread_id,
            turn_id=message_done.turn_id,
            number=number,
            message_id=message_done.message.id,
        )

    def _next_notice(self) -> Notice | None:
        for notice in self.feed.notices:
            key = notice.turn_id if not isinstance(notice, TurnDecided) else f"{notice.turn_id} {notice.call.call_id}"
            earlier = self._notices.get(key)
            if notice == earlier:
                continue
            # The end of a turn of which this viewer heard nothing tells them nothing.
            if isinstance(notice, TurnEnded) and earlier is None and self.feed.source.turn_id is None:
                continue
            self._notices[key] = notice
            return notice
        return None

    def _next_of_reply(self) -> ThreadEvent | None:
        piece = self.feed.open_piece
        event = piece.next_event(self.number) if piece is not None else None
        if event is not None:
            self._piece = piece
        return event

    def _next_at_end(self) -> ThreadEvent | None:
        """The last event, where nothing follows."""
        if self.is_over:
            return None
        if self.feed.failure is not None:
            raise self.feed.failure
        self.is_over = self.feed.is_over or self.feed.is_deleted
        return ThreadDeleted(thread_id=self.feed.source.thread_id) if self.feed.is_deleted else None


async def follow(feed: Feed, after: int, *, patience: float | None) -> AsyncGenerator[ThreadEvent, None]:
    """Follow a feed from a number on.

    Raises `DatabaseUnavailable` where the database is away for longer than `patience` seconds at the beginning;
    a viewer that has begun waits for it. Raises `ThreadNotFound` and `TurnNotFound` at the beginning.
    """
    wake = asyncio.Event()
    feed.wakes.add(wake)
    try:
        follower = Follower(feed, after)
        while True:
            wake.clear()
            event = await insist(follower.next_event, None if follower.has_begun else patience)
            if event is not None:
                yield event
            elif follower.is_over:
                return
            else:
                await wake.wait()
    finally:
        feed.wakes.discard(wake)
