"""A worker's side of live events: it publishes for topics that somebody follows, and nothing for others.

What stays true: a turn that nobody looks at costs no command. Followers say what they follow, and say it again when a
worker comes; what they miss, rows have. Only on the event loop.
"""

import asyncio
import time
from collections.abc import Callable
from functools import cached_property

from conversation.branch_address import split_address
from conversation.storable_text import make_storable
from store.live.event_channel import (
    WATCHED_SECONDS,
    WATCHED_TOPICS_MAX,
    Deltas,
    Envelope,
    OpenPiece,
    Ring,
    read_watch,
    seal,
    topic_of,
)

#: Seconds between two deltas of a reply, for its first thousand or two, and after that: both end in ten minutes.
DELTA_SECONDS, LATE_DELTA_SECONDS, LATE_POSITION = 0.03, 0.25, 2000
#: Seconds between two times that a whole reply is published on one topic, however many ask for it.
SHOW_AGAIN_SECONDS = 0.2


class EventPublisher:
    """The publisher of the turns of one process, and those for whom it publishes."""

    def __init__(self, publish: Callable[[str, str], None], signing_key: bytes = b"") -> None:
        """`publish` sends a text to a channel; it returns at once, and may lose it."""
        self._publish = publish
        #: The installation's, which is read before the first turn is claimed.
        self.signing_key = signing_key
        #: Followed topics, and until when, by the monotonic clock.
        self._watched: dict[str, float] = {}
        self._feeds: set[TurnFeed] = set()

    @classmethod
    def to_nobody(cls) -> "EventPublisher":
        """A publisher that nobody hears."""
        return cls(lambda _channel, _text: None)

    def hear_watch(self, data: bytes) -> None:
        """Take up an announcement of followed topics."""
        topics, is_fresh = read_watch(data)
        until = time.monotonic() + WATCHED_SECONDS
        to_show: set[str] = set()
        for topic in topics:
            if is_fresh or not self.is_watched(topic):
                to_show.add(topic)
            # Behind all others: the oldest is forgotten first.
            self._watched.pop(topic, None)
            self._watched[topic] = until
        if to_show:
            for feed in self._feeds:
                for topic in to_show.intersection(feed.topics):
                    feed.show_soon(topic)
        while len(self._watched) > WATCHED_TOPICS_MAX:
            del self._watched[next(iter(self._watched))]

    @property
    def has_watchers(self) -> bool:
        """Whether anybody may follow any topic."""
        return bool(self._watched)

    def is_watched(self, topic: str) -> bool:
        """Whether somebody follows a topic."""
        until = self._watched.get(topic)
        if until is None:
            return False
        if until < time.monotonic():
            del self._watched[topic]
            return False
        return True

    def send(self, topic: str, envelope: Envelope) -> None:
        """Publish an envelope to a topic, followed or not. Returns at once."""
        self._publish(topic, seal(topic, envelope, self.signing_key))

    def open_feed(self, *, tenant: str, thread_id: str, turn_id: str, owner: str | None) -> "TurnFeed":
        """The feed of a turn that begins; close it with its end."""
        feed = TurnFeed(self, tenant=tenant, thread_id=thread_id, turn_id=turn_id, owner=owner)
        self._feeds.add(feed)
        return feed

    def has_feed(self, feed: "TurnFeed") -> bool:
        """Whether a turn still runs here."""
        return feed in self._feeds

    def close_feed(self, feed: "TurnFeed") -> None:
        """Forget a turn that ended here."""
        feed.end_piece()
        self._feeds.discard(feed)


class TurnFeed:
    """The feed of one attempt at a turn: rings, and the deltas of the reply that is being written."""

    def __init__(
        self, publisher: EventPublisher, *, tenant: str, thread_id: str, turn_id: str, owner: str | None
    ) -> None:
        self._publisher = publisher
        self._tenant = tenant
        self._owner = owner
        self._thread_id = thread_id
        self._turn_id = turn_id
        self._ring_number = 0
        self._message_id = ""
        self._base = 0
        #: The last position in the reply's slot that a delta can have; 0 while none is written.
        self._max_number = 0
        self._number = 0
        self._restarted: int | None = None
        self._texts: list[str] = []
        self._length = 0
        self._ends: list[tuple[int, int]] = []
        #: What came since the last delta got its number.
        self._unsent: list[str] = []
        self._timer: asyncio.TimerHandle | None = None
        #: When all was shown on a topic, by the monotonic clock, and where it is to be shown again before long.
        self._shown_at: dict[str, float] = {}
        self._to_show: set[str] = set()

    @cached_property
    def topics(self) -> tuple[str, ...]:
        """The topics whose followers see it. Made when the first follower of anything comes."""
        # Of its branch, and of its thread, whose id may stand for the branch.
        names = dict.fromkeys((self._thread_id, split_address(self._thread_id)[0]))
        topics = [topic_of("thread", self._tenant, name) for name in names]
        return (*topics, *(() if self._owner is None else (topic_of("owner", self._tenant, self._owner),)))

    def ring(self, number: int) -> None:
        """Tell that rows have events up to a number; 0 tells of a turn that waits."""
        self._ring_number = max(self._ring_number, number)
        if not self._publisher.has_watchers:
            return
        for topic in self.topics:
            if self._publisher.is_watched(topic):
                self._publisher.send(topic, Ring(thread_id=self._thread_id, number=number))

    def begin_piece(self, message_id: str, *, base: int, max_number: int) -> None:
        """Begin a reply, or begin it anew: its deltas have numbers above `base`, up to `max_number`."""
        if self._max_number and self._base == base:
            self.restart()
            return
        self.end_piece()
        self._message_id, self._base, self._max_number, self._number = message_id, base, max_number, base

    def end_piece(self) -> None:
        """End the reply, with what was not sent of it: rows have it, or it is void."""
        if self._unsent and self._is_watched():
            self._send_unsent()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._max_number = self._length = 0
        self._restarted = None
        self._texts, self._ends, self._unsent = [], [], []

    def add_text(self, text: str) -> None:
        """Add text to the reply: it goes out at once, or with what comes in the next moment."""
        self._unsent.append(text)
        if self._timer is None and self._is_watched():
            self._send_unsent()

    def restart(self) -> None:
        """Void what came of the reply so far: the model begins anew."""
        self._unsent = []
        if not self._texts:
            return
        self._texts, self._ends, self._length = [], [], 0
        if self._number < self._max_number:
            previous, self._number = self._number, self._number + 1
            self._restarted = self._number
            self._send_delta(previous, None)

    def show_soon(self, topic: str) -> None:
        """Show all of it on a topic: at once, or once for all who ask within a moment."""
        pause = self._shown_at.get(topic, float("-inf")) + SHOW_AGAIN_SECONDS - time.monotonic()
        if pause <= 0:
            self.show_all(topic)
        elif topic not in self._to_show:
            self._to_show.add(topic)
            asyncio.get_running_loop().call_later(pause, self._show_late, topic)

    def _show_late(self, topic: str) -> None:
        self._to_show.discard(topic)
        if self._publisher.has_feed(self):
            self.show_all(topic)

    def show_all(self, topic: str) -> None:
        """Publish what a follower that just came cannot know: the open reply, and that there are rows."""
        self._shown_at[topic] = time.monotonic()
        self._send_unsent()
        self._publisher.send(topic, Ring(thread_id=self._thread_id, number=self._ring_number))
        if self._max_number:
            piece = OpenPiece(
                thread_id=self._thread_id,
                turn_id=self._turn_id,
                message_id=self._message_id,
                base=self._base,
                restarted=self._restarted,
                text="".join(self._texts),
                ends=tuple(self._ends),
            )
            self._publisher.send(topic, piece)

    def _is_watched(self) -> bool:
        return self._publisher.has_watchers and any(map(self._publisher.is_watched, self.topics))

    def _send_unsent(self) -> None:
        """Give what came since the last delta a number, and send it to those who follow."""
        self._timer = None
        if not self._unsent or self._number >= self._max_number:
            return
        # As the message will have it.
        text, self._unsent = make_storable("".join(self._unsent)), []
        self._texts.append(text)
        self._length += len(text)
        previous, self._number = self._number, self._number + 1
        self._ends.append((self._number, self._length))
        self._send_delta(previous, text)
        is_late = self._number - self._base > LATE_POSITION
        seconds = LATE_DELTA_SECONDS if is_late else DELTA_SECONDS
        self._timer = asyncio.get_running_loop().call_later(seconds, self._send_unsent)

    def _send_delta(self, previous: int, text: str | None) -> None:
        deltas: Deltas | None = None
        for topic in self.topics:
            if self._publisher.is_watched(topic):
                deltas = deltas or Deltas(
                    thread_id=self._thread_id,
                    turn_id=self._turn_id,
                    message_id=self._message_id,
                    base=self._base,
                    previous=previous,
                    deltas=((self._number, text),),
                )
                self._publisher.send(topic, deltas)
