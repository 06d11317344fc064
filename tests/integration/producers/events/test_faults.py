"""Following through faults of a random plan: whatever is lost, late or doubled, each viewer sees all, once."""

import asyncio
import random
from dataclasses import dataclass, field

import pytest

from conversation.events import (
    MessageDelta,
    MessageDone,
    MessageRestarted,
    ThreadEvent,
    TurnEnded,
    TurnStarted,
    number_of_end,
)
from producers.events import feed as feed_module
from producers.events import tail as tail_module
from producers.events.feed import Feed
from producers.events.follow import follow
from producers.events.rows import Source
from store.live.event_channel import Envelope, Ring
from tests.integration.producers.events.stage import (
    SOON_SECONDS,
    StoredRows,
    Worker,
    ended,
    is_rising,
    question,
    reply,
    started,
)

#: A plan for each seed, in `make test` and in `make endurance`.
SEEDS, MORE_SEEDS = range(40), range(40, 2000)


@dataclass
class Client:
    """A viewer who comes again, with the number of the last event that they saw."""

    seen: list[ThreadEvent] = field(default_factory=list)
    number: int = 0
    task: asyncio.Task[None] | None = None

    def connect(self, feed: Feed) -> None:
        self.task = asyncio.create_task(self._look(feed))

    async def disconnect(self) -> None:
        if self.task is not None:
            self.task.cancel()
            await asyncio.wait({self.task})
            self.task = None

    async def _look(self, feed: Feed) -> None:
        async for event in follow(feed, self.number, patience=None):
            self.seen.append(event)
            self.number = event.number or self.number


class Broker:
    """Carries envelopes to a feed: it loses, doubles and holds up some of them."""

    def __init__(self, plan: random.Random) -> None:
        self._plan = plan
        self.feed: Feed | None = None
        self.is_faithful = False
        self._late: list[Envelope] = []

    def carry(self, envelope: Envelope) -> None:
        assert self.feed is not None
        if self.is_faithful:
            self.feed.hear(envelope)
            return
        fate = self._plan.random()
        if fate < 0.15:
            return
        if fate < 0.3:
            self._late.append(envelope)
            return
        for _ in range(2 if fate < 0.4 else 1):
            self.feed.hear(envelope)
        if self._late and self._plan.random() < 0.5:
            self.feed.hear(self._late.pop())


class SilentWorker(Worker):
    """A worker whose envelopes go to this broker."""

    def __init__(self, broker: Broker, fence: int, step: int) -> None:
        super().__init__(None, fence, step)
        self.broker = broker

    async def send(self, envelope: Envelope, **_: object) -> None:
        self.broker.carry(envelope)


class Play:
    """A thread whose turns are written, broken off and ended, while clients come and go."""

    def __init__(self, seed: int) -> None:
        self.plan = random.Random(seed)
        self.rows = StoredRows(page_events=self.plan.choice([2, 3, 500]))
        self.rows.thread()
        self.broker = Broker(self.plan)
        self.clients = [Client() for _ in range(3)]
        self.worker: SilentWorker | None = None
        self.feed = self._open()

    def _open(self) -> Feed:
        async def prepare(_feed: Feed) -> None:
            await asyncio.sleep(0)

        feed = Feed(
            Source("default", "t"), self.rows, prepare=prepare, refresh=self._refresh, read_slots=asyncio.Semaphore(2)
        )
        self.broker.feed = feed
        return feed

    def _refresh(self, _feed: Feed) -> None:
        if self.worker is not None:
            self.broker.carry(self.worker.piece())

    async def run(self) -> None:
        fence = 0
        for _ in range(4):
            fence += 1
            self.rows.add(started(fence), question(fence))
            await self._ring(fence)
            for step in range(self.plan.randint(1, 3)):
                if self.plan.random() < 0.2:
                    fence = await self._crash(fence)
                await self._write_reply(fence, step)
            self.rows.add(ended(fence))
            await self._ring(fence)
        self.broker.is_faithful = True
        for client in self.clients:
            if client.task is None:
                client.connect(self.feed)
        async with asyncio.timeout(SOON_SECONDS):
            while not all(client.number == number_of_end(fence) for client in self.clients):
                self.feed.want_rows()
                await asyncio.sleep(0.001)
        for client in self.clients:
            await client.disconnect()
        self.feed.close()

    async def _ring(self, fence: int) -> None:
        self.broker.carry(Ring(thread_id="t", number=number_of_end(fence)))
        await self._pause()

    async def _crash(self, fence: int) -> int:
        await self._write_reply(fence, 0, is_left=True)
        self.rows.add(started(fence + 1, attempt=2))
        await self._ring(fence + 1)
        return fence + 1

    async def _write_reply(self, fence: int, step: int, *, is_left: bool = False) -> None:
        self.worker = SilentWorker(self.broker, fence, step)
        for _ in range(self.plan.randint(0, 12)):
            await self.worker.write(None if self.plan.random() < 0.08 else f"{self.plan.randint(0, 9999)} ")
            await self._pause()
        text = self.worker.text
        if self.plan.random() < 0.2:
            text = text[: len(text) // 2]
        if not is_left:
            self.rows.add(reply(fence, text, step))
            await self._ring(fence)

    async def _pause(self) -> None:
        """Let the others come to something, and now and then a client go, or come again; or the process begin anew."""
        for _ in range(self.plan.choice([0, 1, 3, 10])):
            await asyncio.sleep(0)
        client = self.plan.choice(self.clients)
        if self.plan.random() < 0.3:
            await client.disconnect()
        elif client.task is None:
            client.connect(self.feed)
        if self.plan.random() < 0.02:
            for each in self.clients:
                await each.disconnect()
            self.feed.close()
            self.feed = self._open()
            self._refresh(self.feed)


@pytest.mark.parametrize(
    "seeds", [pytest.param(SEEDS, id="some"), pytest.param(MORE_SEEDS, id="many", marks=pytest.mark.endurance)]
)
async def test_each_client_sees_all_of_it_once_and_in_order(seeds: range, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_module, "READ_AGAIN_SECONDS", 0)
    monkeypatch.setattr(feed_module, "REFRESH_AGAIN_SECONDS", 0)
    monkeypatch.setattr(tail_module, "TAIL_EVENTS", 5)
    mended_count = 0
    for seed in seeds:
        play = Play(seed)
        await play.run()
        stored = play.rows.thread().events
        for client in play.clients:
            durable = [event for event in client.seen if not isinstance(event, MessageDelta | MessageRestarted)]
            assert durable == stored, seed
            assert is_rising([event.number or 0 for event in client.seen]), seed
            mended_count += check_texts(client, seed)

    assert mended_count > len(seeds), "the plans are of some use"


def check_texts(client: Client, seed: int) -> int:
    """The deltas of each message are its text, or were voided; returns of how many messages there were some."""
    texts: dict[str, str] = {}
    streamed_count = 0
    for event in client.seen:
        match event:
            case MessageDelta(message_id=of, text=text):
                texts[of] = texts.get(of, "") + text
            case MessageRestarted(message_id=of):
                texts[of] = ""
            case TurnStarted() | TurnEnded():
                texts.clear()
            case MessageDone(message=message) if message.id in texts:
                streamed_count += 1
                assert texts.pop(message.id) in (message.content, ""), (seed, event)
    return streamed_count
