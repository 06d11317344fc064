"""Signals, announcements and envelopes that anybody may publish: they end no listener, and cost a look at most."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import suppress
from typing import Any

import pytest
from redis.asyncio import Redis as AsyncRedis

from conversation.errors import DatabaseUnavailable
from conversation.task_contract import CANCEL_CHANNEL, turn_channel
from store.live import direct_signals, event_listener, signals
from store.live.breaker_board import PREFIX, ValkeyBreakerBoard
from store.live.direct_signals import DirectSignals
from store.live.event_channel import WATCH_CHANNEL, WATCHERS_CHANNEL, read_watch, topic_of
from store.live.event_listener import EventListener
from store.live.event_publisher import EventPublisher
from store.live.message_budget import BYTES_OF_ONE, MessageBudget
from store.live.signals import Signals, WorkerSignals
from store.settings import Settings
from tasks.active_runs import ActiveRuns
from tasks.cancel_signals import LOOK_AGAIN_SECONDS, CancelSignals
from tests.tries import check_tries

SOON_SECONDS = 20
TURN = "0197a0b0-0000-7000-8000-000000000001"
TOPIC = topic_of("thread", "acme", "t")
ODD_TEXTS: tuple[bytes, ...] = (
    *(b"", b"\xff\xfe\x80", b"\0", b"null", b"5", b"[]", b"{}", b"[" * 100_000, b'{"a":' * 100_000, b"x" * 3_000_000),
    *(b'{"topics": 5, "fresh": 1}', b'{"topics": [5, null, {}, "x"]}', b'{"topics": {"a": 1}, "fresh": true}'),
    *(b'{"kind": "ring"}', b'{"thread": 5, "number": -1}', b"0" * 64 + b"{}", TURN.encode() * 1_000),
)


@pytest.fixture
async def enemy(settings: Settings) -> AsyncIterator[AsyncRedis]:
    """Somebody who can publish."""
    async with AsyncRedis.from_url(settings.broker_url.get_secret_value()) as client:
        yield client


async def eventually(is_true: Callable[[], bool], meanwhile: Callable[[], Any] | None = None) -> None:
    async with asyncio.timeout(SOON_SECONDS):
        while not is_true():
            if meanwhile is not None:
                await meanwhile()
            await asyncio.sleep(0.02)


async def test_whatever_is_published_ends_no_listener(settings: Settings, enemy: AsyncRedis) -> None:
    cancelled: list[str] = []
    received: list[tuple[str, bytes]] = []
    confirmed: list[str] = []
    publisher = EventPublisher(lambda _channel, _text: None)
    worker = WorkerSignals(settings, cancel=cancelled.append, hear_watch=publisher.hear_watch)
    worker.start()
    follower = EventListener(settings, receive=lambda *heard: received.append(heard), confirm=confirmed.append)
    follower.follow(TOPIC)
    await eventually(lambda: "first" in cancelled, lambda: enemy.publish(CANCEL_CHANNEL, "first"))
    await eventually(lambda: TOPIC in confirmed)
    channels = (CANCEL_CHANNEL, WATCH_CHANNEL, WATCHERS_CHANNEL, TOPIC)

    for channel in channels:
        for text in ODD_TEXTS:
            await enemy.publish(channel, text)

    successes = 0
    for channel, is_heard in (
        (CANCEL_CHANNEL, lambda: "last" in cancelled),
        (TOPIC, lambda: (TOPIC, b"last") in received),
    ):
        with suppress(TimeoutError):
            await eventually(is_heard, lambda channel=channel: enemy.publish(channel, "last"))
        successes += not is_heard()
    successes += publisher.has_watchers and not publisher.is_watched(TOPIC)
    await worker.stop()
    follower.close()
    await follower.wait_closed()
    assert all(len(text) <= signals.TURN_ID_BYTES for text in cancelled)
    check_tries("odd signals, announcements and envelopes", tries=len(channels) * len(ODD_TEXTS), successes=successes)


async def test_a_flood_of_signals_makes_a_worker_deaf_and_it_listens_again(
    settings: Settings, enemy: AsyncRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signals, "LISTEN_AGAIN_SECONDS", 0.2)
    heard: list[str] = []
    worker = WorkerSignals(settings, cancel=heard.append)
    worker.start()
    await eventually(lambda: "first" in heard, lambda: enemy.publish(CANCEL_CHANNEL, "first"))

    started = time.monotonic()
    async with enemy.pipeline(transaction=False) as pipeline:
        for _ in range(8_000):
            pipeline.publish(CANCEL_CHANNEL, "flood")
        await pipeline.execute()
    await eventually(lambda: "last" in heard, lambda: enemy.publish(CANCEL_CHANNEL, "last"))
    await worker.stop()

    # A second's share before it is deaf, and one for each second that the flood took to come.
    seconds = math.ceil(time.monotonic() - started)
    assert heard.count("flood") <= min(7_999, (1 + seconds) * signals.HEARD_PER_SECOND)


class Rows:
    """The turns whose cancel is requested, and how often somebody looked."""

    def __init__(self) -> None:
        self.requested: set[str] = set()
        self.looks: list[set[str]] = []
        self.is_away = False

    async def list_cancel_requests(self, turn_ids: Collection[str]) -> list[str]:
        self.looks.append(set(turn_ids))
        if self.is_away:
            raise DatabaseUnavailable("away")
        return [turn_id for turn_id in turn_ids if turn_id in self.requested]


async def test_a_cancel_signal_without_a_request_cancels_nothing_and_a_flood_costs_a_few_looks() -> None:
    rows, active_runs = Rows(), ActiveRuns()
    cancel_signals = CancelSignals(rows, active_runs)  # type: ignore[arg-type]
    with active_runs.enter(("acme", "t")) as entry:
        run = active_runs.begin_run(entry, TURN, asyncio.sleep(60))
        started = time.monotonic()
        for number in range(5_000):
            cancel_signals.hear(TURN)
            cancel_signals.hear(f"turn-{number}")
            if number % 100 == 0:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0)
        seconds = time.monotonic() - started
        assert 1 <= len(rows.looks) <= 2 + seconds / LOOK_AGAIN_SECONDS
        assert all(look == {TURN} for look in rows.looks), "a turn that does not run here is nobody's to look at"
        assert not run.cancelling()

        rows.is_away = True
        cancel_signals.hear(TURN)
        looks = len(rows.looks)
        await eventually(lambda: len(rows.looks) > looks, lambda: asyncio.sleep(0))
        rows.is_away = False
        rows.requested.add(TURN)
        cancel_signals.hear(TURN)

        with pytest.raises(asyncio.CancelledError):
            async with asyncio.timeout(SOON_SECONDS):
                await run
    cancel_signals.close()


@pytest.mark.parametrize("open_signals", [DirectSignals.open, Signals], ids=["direct", "client"])
async def test_a_waiter_is_woken_a_few_times_a_second_however_many_signals_come(
    settings: Settings, enemy: AsyncRedis, open_signals: Callable[[Settings], Signals]
) -> None:
    waiter_signals = open_signals(settings)
    async with enemy.pipeline(transaction=False) as pipeline:
        for _ in range(2_000):
            pipeline.publish(turn_channel(TURN), "ended")
        wakes = 0
        async with waiter_signals.subscribe_async(turn_channel(TURN), within_seconds=10) as wait_for_signal:
            await wait_for_signal(SOON_SECONDS)
            await pipeline.execute()
            started = time.monotonic()
            while time.monotonic() - started < 1:
                await wait_for_signal(1)
                wakes += 1
    assert 1 <= wakes <= 1 + 2 / direct_signals.WAKE_AGAIN_SECONDS

    def wait_by_blocking() -> float:
        with waiter_signals.subscribe(turn_channel(TURN), within_seconds=10) as wait_for_signal:
            started = time.monotonic()
            for _ in range(3):
                wait_for_signal(0.1)
            return time.monotonic() - started

    assert 0.2 < await asyncio.to_thread(wait_by_blocking) < SOON_SECONDS


async def test_a_flood_on_one_topic_is_heard_in_part_and_the_others_go_on(
    settings: Settings, enemy: AsyncRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_listener, "HEARD_OF_TOPIC_PER_SECOND", 50)
    other = topic_of("thread", "acme", "other")
    received: list[str] = []
    confirmed: list[str] = []
    follower = EventListener(settings, receive=lambda topic, _: received.append(topic), confirm=confirmed.append)
    follower.follow(TOPIC)
    follower.follow(other)
    await eventually(lambda: {TOPIC, other} <= set(confirmed))

    async with enemy.pipeline(transaction=False) as pipeline:
        for _ in range(5_000):
            pipeline.publish(TOPIC, "flood")
        pipeline.publish(other, "ring")
        await pipeline.execute()
    await eventually(lambda: other in received)
    follower.close()
    await follower.wait_closed()

    assert received.count(TOPIC) < 1_000


async def test_a_state_that_no_breaker_wrote_is_none(settings: Settings, enemy: AsyncRedis) -> None:
    board = ValkeyBreakerBoard(settings)
    states = {b"\xff\xfe": None, b"a text of somebody's": None, b"x" * 3_000_000: None, b"unavailable": "unavailable"}
    for state, expected in states.items():
        await enemy.set(f"{PREFIX}model", state)
        assert await board.read("model") == expected
    await board.close()


def test_an_announcement_that_is_too_long_names_nobody() -> None:
    topics = ", ".join(f'"{TOPIC}"' for _ in range(10_000))
    assert read_watch(f'{{"topics": [{topics}], "fresh": true}}'.encode()) == ([], False)


def test_a_budget_fills_with_time_and_long_messages_take_more_of_it() -> None:
    now = [0.0]
    budget = MessageBudget(10, clock=lambda: now[0])

    assert [budget.take() for _ in range(12)] == [True] * 10 + [False] * 2
    now[0] = 0.4
    assert [budget.take() for _ in range(3)] == [True, True, False]
    now[0] = 100.0
    assert [budget.take(b"x" * (4 * BYTES_OF_ONE)) for _ in range(3)] == [True, True, False]
