"""A thread as workers leave it and tell of it, without workers: rows of a test, envelopes that it publishes."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import redis.asyncio as redis

from conversation.errors import DatabaseUnavailable, ThreadNotFound
from conversation.events import (
    DONE_POSITION,
    MessageDelta,
    MessageDone,
    MessageRestarted,
    ThreadEvent,
    TurnEnded,
    TurnQueued,
    TurnStarted,
    number_of,
    number_of_end,
    number_of_start,
)
from conversation.message import Message
from conversation.turn import TurnState
from producers.events.hub import EventHub
from producers.events.rows import Source, ThreadName
from store.live.event_channel import Deltas, Envelope, OpenPiece, Ring, read_watch, seal, topic_of
from store.settings import Settings
from store.turns.event_rows import EventPage

KEY = b"k" * 32
TENANT = "default"
#: Seconds that anything may take on a busy machine.
SOON_SECONDS = 20


def turn_id(fence: int) -> str:
    return f"turn-{fence}"


def message_id(fence: int, step: int = 0) -> str:
    return f"{turn_id(fence)}-{step}"


def base_of(fence: int, step: int = 0) -> int:
    return number_of(fence, step + 1, 0)


def started(fence: int, attempt: int = 1, *, thread: str = "t", turn: str | None = None) -> TurnStarted:
    number = number_of_start(fence)
    return TurnStarted(
        thread_id=thread, turn_id=turn or turn_id(fence), number=number, attempt=attempt, agent="assistant"
    )


def question(fence: int, text: str = "hello", *, thread: str = "t") -> MessageDone:
    message = Message(role="user", content=text)
    number = number_of(fence, 0, DONE_POSITION)
    return MessageDone(thread_id=thread, turn_id=turn_id(fence), number=number, message=message)


def reply(fence: int, text: str, step: int = 0, *, thread: str = "t") -> MessageDone:
    message = Message(role="assistant", content=text, id=message_id(fence, step))
    number = number_of(fence, step + 1, DONE_POSITION)
    return MessageDone(thread_id=thread, turn_id=turn_id(fence), number=number, message=message)


def ended(fence: int, *, thread: str = "t", turn: str | None = None) -> TurnEnded:
    number = number_of_end(fence)
    return TurnEnded(thread_id=thread, turn_id=turn or turn_id(fence), number=number, state=TurnState.COMPLETED)


def queued(turn: str, position: int = 0, *, thread: str = "t") -> TurnQueued:
    return TurnQueued(thread_id=thread, turn_id=turn, position=position)


@dataclass
class StoredThread:
    """The rows of a thread."""

    events: list[ThreadEvent] = field(default_factory=list)
    notices: list[TurnQueued | TurnEnded] = field(default_factory=list)
    running: str | None = None
    version: int = 0


class StoredRows:
    """Rows in memory, which count what is read."""

    def __init__(self, page_events: int = 500) -> None:
        self.threads: dict[ThreadName, StoredThread] = {}
        self.is_away = False
        self.page_events = page_events
        self.reads: list[tuple[Source, int]] = []
        self.peeks = 0
        self.keys = 0

    def thread(self, name: str = "t") -> StoredThread:
        return self.threads.setdefault((TENANT, name), StoredThread())

    def add(self, *events: ThreadEvent, thread: str = "t") -> None:
        stored = self.thread(thread)
        stored.events.extend(events)
        stored.version += 1
        for event in events:
            if isinstance(event, TurnStarted):
                stored.running = event.turn_id
                stored.notices = [each for each in stored.notices if each.turn_id != event.turn_id]
            elif isinstance(event, TurnEnded):
                stored.running = None

    async def read_key(self) -> bytes:
        self._check()
        self.keys += 1
        return KEY

    async def read_page(self, source: Source, after: int) -> EventPage:
        self._check()
        self.reads.append((source, after))
        await asyncio.sleep(0)
        stored = self.threads.get(source.thread)
        if stored is None:
            raise ThreadNotFound(source.thread_id)
        events = [event for event in stored.events if (event.number or 0) > after]
        notices = list(stored.notices)
        running = stored.running
        if source.turn_id is not None:
            events = [event for event in events if event.turn_id == source.turn_id]
            notices = [event for event in notices if event.turn_id == source.turn_id]
            running = running if running == source.turn_id else None
            return EventPage(events=tuple(events), notices=tuple(notices), running=running)
        page, rest = events[: self.page_events], events[self.page_events :]
        if rest:
            return EventPage(events=tuple(page), has_more=True)
        waiting = tuple(notice for notice in notices if isinstance(notice, TurnQueued))
        return EventPage(events=tuple(page), notices=waiting, running=running)

    async def peek(self, threads: Sequence[ThreadName]) -> Mapping[ThreadName, object]:
        self._check()
        self.peeks += 1
        return {name: self.threads[name].version for name in threads if name in self.threads}

    async def list_active(self, tenant: str, user: str, since: datetime) -> Sequence[str]:
        raise NotImplementedError

    def _check(self) -> None:
        if self.is_away:
            raise DatabaseUnavailable("away")


class Worker:
    """What a worker publishes of one reply."""

    def __init__(self, client: Any, fence: int = 1, step: int = 0, *, thread: str = "t") -> None:
        self.client = client
        self.thread = thread
        self.fence, self.step = fence, step
        self.base = self.number = base_of(fence, step)
        self.restarted: int | None = None
        self.texts: list[tuple[int, str]] = []

    @property
    def text(self) -> str:
        return "".join(text for _, text in self.texts)

    async def send(self, envelope: Envelope, *, key: bytes = KEY, topic: str | None = None) -> None:
        topic = topic or topic_of("thread", TENANT, self.thread)
        await self.client.publish(topic, seal(topic, envelope, key))

    async def ring(self, number: int = 0) -> None:
        await self.send(Ring(thread_id=self.thread, number=number))

    async def write(self, text: str | None, *, is_lost: bool = False) -> Deltas:
        """Add to the reply; None begins it anew."""
        previous, self.number = self.number, self.number + 1
        if text is None:
            self.restarted, self.texts = self.number, []
        else:
            self.texts.append((self.number, text))
        deltas = Deltas(
            thread_id=self.thread,
            turn_id=turn_id(self.fence),
            message_id=message_id(self.fence, self.step),
            base=self.base,
            previous=previous,
            deltas=((self.number, text),),
        )
        if not is_lost:
            await self.send(deltas)
        return deltas

    async def lose(self, text: str) -> None:
        """Add to the reply while nobody can be reached."""
        await self.write(text, is_lost=True)

    def piece(self) -> OpenPiece:
        ends, length = [], 0
        for number, text in self.texts:
            length += len(text)
            ends.append((number, length))
        return OpenPiece(
            thread_id=self.thread,
            turn_id=turn_id(self.fence),
            message_id=message_id(self.fence, self.step),
            base=self.base,
            restarted=self.restarted,
            text=self.text,
            ends=tuple(ends),
        )

    @asynccontextmanager
    async def answer_watches(self) -> AsyncIterator[list[tuple[list[str], bool]]]:
        """Publish the open piece to whoever asks for it; gives what was announced."""
        watches: list[tuple[list[str], bool]] = []
        async with self.client.pubsub(ignore_subscribe_messages=True) as channel:
            await channel.subscribe("threadmill:watch")

            async def answer() -> None:
                while True:
                    message = await channel.get_message(timeout=None)
                    if message is None:
                        continue
                    topics, is_fresh = read_watch(message["data"])
                    watches.append((topics, is_fresh))
                    if is_fresh and topic_of("thread", TENANT, self.thread) in topics:
                        await self.send(self.piece())

            answering = asyncio.create_task(answer())
            try:
                yield watches
            finally:
                answering.cancel()


class Viewer:
    """Who follows, and what they were shown."""

    def __init__(self, events: AsyncIterator[ThreadEvent]) -> None:
        self._events = events
        self.seen: list[ThreadEvent] = []
        self.error: Exception | None = None
        self.is_over = False
        self._changed = asyncio.Event()
        self._task = asyncio.create_task(self._collect())

    async def _collect(self) -> None:
        try:
            async for event in self._events:
                self.seen.append(event)
                self._changed.set()
        except Exception as error:  # noqa: BLE001
            self.error = error
        self.is_over = True
        self._changed.set()

    async def until(self, holds: "Callable[[Viewer], object]") -> "Viewer":
        async with asyncio.timeout(SOON_SECONDS):
            while not holds(self):
                assert self.error is None, self.error
                self._changed.clear()
                await self._changed.wait()
        return self

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.wait({self._task})

    @property
    def kinds(self) -> list[str]:
        return [event.kind for event in self.seen]

    @property
    def numbers(self) -> list[int]:
        return [event.number for event in self.seen if event.number is not None]

    def text(self, of: str | None = None) -> str:
        """What the deltas of a message say, as a viewer joins them."""
        text = ""
        for event in self.seen:
            if isinstance(event, MessageDelta) and of in (None, event.message_id):
                text += event.text
            elif isinstance(event, MessageRestarted | TurnStarted):
                text = ""
        return text


def is_rising(numbers: Sequence[int]) -> bool:
    return all(earlier < later for earlier, later in itertools.pairwise(numbers))


@asynccontextmanager
async def open_hub(settings: Settings, rows: Any) -> AsyncIterator[EventHub]:
    """A hub on these rows."""
    hub = EventHub(SimpleNamespace(settings=settings, database=None), rows=rows)  # type: ignore[arg-type]
    try:
        yield hub
    finally:
        await hub.close_async()


@asynccontextmanager
async def open_client(settings: Settings) -> AsyncIterator[Any]:
    async with redis.Redis.from_url(settings.broker_url.get_secret_value()) as client:
        yield client
