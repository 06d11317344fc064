"""Streams of events, which go on by themselves after each cut: what one knows, and what it does next.

What stays true: each event is given once and in order. A stream that was cut is asked for again behind the last event
that was given; what comes twice all the same is passed over. It ends where the gateway says that nothing follows.
"""

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from threadmill_client.errors import ConnectionLost, Problem, ThreadmillError, UnexpectedAnswer
from threadmill_client.events import Event, ThreadDeleted, TurnEnded, read_event
from threadmill_client.retries import Retries, is_success, may_pass, problem_of
from threadmill_client.sse import EventStreamParser, ServerSentEvent
from threadmill_client.wire import Answer, Request, drop_nones, path

#: Between two connections, before the gateway asks for another time.
_RECONNECTION_SECONDS = 0.5


@dataclass(frozen=True, kw_only=True)
class Feed:
    """One stream of the gateway, and where to begin in it."""

    where: str
    query: Mapping[str, str] = field(default_factory=dict)
    #: The number or cursor of the last event that is known; "" for all there are.
    after: str = ""
    #: The kind of event after which nothing follows.
    last_kind: type[Event] | None = None


def turn_events(turn_id: str, *, after: int | str = 0) -> Feed:
    """Follow one turn to its end, from its beginning or behind an event."""
    return Feed(where=path("turns", turn_id, "events"), after=_mark(after), last_kind=TurnEnded)


def thread_events(thread_id: str, *, after: int | str = 0, branch: str | None = None) -> Feed:
    """Follow a thread, from its beginning or behind an event, as `thread.last_event_id`. It ends with the thread.

    It follows the branch that is chosen, also when another one is, or `branch`.
    """
    where, query = path("threads", thread_id, "events"), drop_nones(branch=branch)
    return Feed(where=where, query=query, after=_mark(after), last_kind=ThreadDeleted)


def user_events(user: str | None = None, *, after: str = "") -> Feed:
    """Follow all threads of a user, from now on or behind the `cursor` of an event.

    A key that is bound to a user need not name it.
    """
    return Feed(where=path("events"), query=drop_nones(user=user), after=_mark(after))


def _mark(after: int | str) -> str:
    return "" if after == 0 else str(after)


class Follower:
    """The state of one stream over all of its connections."""

    def __init__(self, feed: Feed, retries: Retries, *, patience_seconds: float) -> None:
        self.is_over = False
        self._feed = feed
        self._retries = retries
        self._patience_seconds = patience_seconds
        self._cursor = feed.after
        self._parser = EventStreamParser(feed.after)
        self._reconnection_seconds: float | None = None
        #: Of each thread the number of its last event, and of each turn the notice that it was given last.
        self._numbers: dict[str, int] = {}
        self._notices: dict[str | None, Event] = {}
        #: Tries since bytes came last, and when that was; None before any came.
        self._failures = 0
        self._heard_at: float | None = None

    def request(self) -> Request:
        """The request for the next connection."""
        headers = {"Accept": "text/event-stream", "Accept-Encoding": "identity", "Cache-Control": "no-store"}
        if self._cursor:
            headers["Last-Event-ID"] = self._cursor
        return Request(method="GET", path=self._feed.where, query=self._feed.query, headers=headers)

    def open(self, status: int, media_type: str) -> None:
        """Take a connection's head, where it is that of a stream."""
        if status == 204:
            self.is_over = True
        elif not media_type.startswith("text/event-stream"):
            raise UnexpectedAnswer(
                f"the answer is {media_type or 'nothing'}, no stream: is base_url that of a gateway?"
            )
        self._parser = EventStreamParser(self._cursor)

    def refuse(self, answer: Answer, request: Request) -> Problem:
        """The error of an answer that is no stream. Raises it where it will not pass."""
        if is_success(answer, request):
            raise UnexpectedAnswer(f"HTTP {answer.status}, no stream: is base_url that of a gateway?")
        failure = problem_of(replace(answer, attempts=self._failures + 1))
        if not may_pass(failure):
            raise failure
        return failure

    def feed(self, chunk: bytes) -> Iterator[Event]:
        """Take bytes; gives the events that they complete."""
        self._failures, self._heard_at = 0, time.monotonic()
        for sent in self._parser.feed(chunk):
            event = _read(sent)
            if not self._is_repetition(event):
                self._cursor = sent.last_event_id
                self._remember(event)
                yield event
            if self.is_over:
                return
        self._cursor = self._parser.last_event_id
        if self._parser.retry_milliseconds is not None:
            self._reconnection_seconds = self._parser.retry_milliseconds / 1000

    def pause(self, failure: ThreadmillError | None) -> float:
        """Seconds to wait before the next connection. Raises the failure of the last one when it is time to give up."""
        self._failures += 1
        failure = failure or ConnectionLost("the stream ended as soon as it began")
        wanted = (failure.retry_after_seconds if isinstance(failure, Problem) else None) or 0
        if self._is_hopeless() or wanted > self._retries.longest_wait_seconds:
            raise failure
        first = _RECONNECTION_SECONDS if self._reconnection_seconds is None else self._reconnection_seconds
        grown = min(first * 2.0 ** min(self._failures - 1, 10), max(first, self._retries.longest_pause_seconds))
        return max(grown, wanted) + grown / 2 * self._retries.draw()

    def _is_hopeless(self) -> bool:
        if self._heard_at is None:
            return self._failures > self._retries.limit
        return time.monotonic() - self._heard_at > self._patience_seconds

    def _is_repetition(self, event: Event) -> bool:
        if event.number is None:
            return self._notices.get(event.turn_id) == event
        return event.number <= self._numbers.get(event.thread_id, -1)

    def _remember(self, event: Event) -> None:
        if event.number is None:
            self._notices[event.turn_id] = event
        else:
            self._numbers[event.thread_id] = event.number
            self._notices.pop(event.turn_id, None)
        if isinstance(event, ThreadDeleted):
            # Another one may be made with its id, and counts from the beginning.
            self._numbers.pop(event.thread_id, None)
        self.is_over = self._feed.last_kind is not None and isinstance(event, self._feed.last_kind)


def _read(sent: ServerSentEvent) -> Event:
    try:
        value = json.loads(sent.data)
    except ValueError:
        raise UnexpectedAnswer(f"an event {sent.name!r} has no JSON") from None
    return read_event({"type": sent.name, **value} if isinstance(value, dict) else value, cursor=sent.last_event_id)
