"""Signals between workers and waiters: heard where there is a server, and no failure where there is none."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis as AsyncRedis

from conversation.task_contract import CANCEL_CHANNEL, turn_channel
from store.live import signals
from store.live.direct_signals import DirectSignals
from store.live.signals import Signals, WorkerSignals
from store.settings import Settings
from tests.integration.producers.backend import free_port, silent_server
from threadmill.embedded.valkey import EmbeddedValkey

#: Seconds that a signal may take on a busy machine; a wait that nothing ends takes longer.
SOON_SECONDS = 20
TURN = "0197-turn"


@pytest.fixture(params=[DirectSignals.open, Signals], ids=["direct", "client"])
def open_signals(request: pytest.FixtureRequest) -> Callable[[Settings], Signals]:
    """Opens the signals of a waiter by one of the two ways."""
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def cancelled() -> list[str]:
    """The ids of the turns whose cancel a worker heard of."""
    return []


@pytest.fixture
async def worker_signals(settings: Settings, cancelled: list[str]) -> AsyncIterator[WorkerSignals]:
    """The signals of a worker that listens."""
    started = WorkerSignals(settings, cancel=cancelled.append)
    started.start()
    yield started
    await started.stop()


async def eventually(is_true: Callable[[], bool], meanwhile: Callable[[], object] = lambda: None) -> None:
    async with asyncio.timeout(SOON_SECONDS):
        while not is_true():
            meanwhile()
            await asyncio.sleep(0.02)


async def test_the_end_of_a_turn_wakes_who_waits_for_it(
    settings: Settings, worker_signals: WorkerSignals, open_signals: Callable[[Settings], Signals]
) -> None:
    channel = turn_channel(TURN)
    async with open_signals(settings).subscribe_async(channel, within_seconds=10) as wait_for_signal:
        # It connects, and returns.
        await wait_for_signal(SOON_SECONDS + 10)
        started = time.monotonic()
        worker_signals.publish_turn_ended(TURN)

        await wait_for_signal(SOON_SECONDS + 10)

    assert time.monotonic() - started < SOON_SECONDS


@asynccontextmanager
async def count_round_trips(settings: Settings) -> AsyncIterator[tuple[Settings, list[int]]]:
    """Settings whose broker is reached through a relay, and the publishes of each of its round trips."""
    address = settings.broker_url.get_secret_value().rpartition("@")
    host, _, port = address[2].partition("/")[0].partition(":")
    publishes: list[int] = []
    pairs: set[asyncio.Task[None]] = set()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection(host, int(port))
        is_answered = True

        async def pass_answers() -> None:
            nonlocal is_answered
            while answer := await from_server.read(65536):
                is_answered = True
                writer.write(answer)

        answers = asyncio.create_task(pass_answers())
        pairs.add(answers)
        while request := await reader.read(1_000_000):
            count = request.count(b"PUBLISH")
            if count and is_answered:
                publishes.append(count)
            elif count:
                publishes[-1] += count
            is_answered = False
            to_server.write(request)
        answers.cancel()
        to_server.close()
        writer.close()

    async with await asyncio.start_server(relay, "127.0.0.1", 0, limit=1_000_000) as server:
        url = f"{address[0]}@127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
        yield settings.model_copy(update={"broker_url": SecretStr(url)}), publishes


async def test_turns_that_end_in_the_same_moment_are_published_in_one_round_trip(settings: Settings) -> None:
    turn_ids = [f"turn-{number}" for number in range(100)]
    meanwhile = [f"meanwhile-{number}" for number in range(50)]
    async with (
        AsyncRedis.from_url(settings.broker_url.get_secret_value()) as client,
        client.pubsub() as listener,
        count_round_trips(settings) as (relayed_settings, publishes),
    ):
        await listener.psubscribe(turn_channel("*"))
        worker_signals = WorkerSignals(relayed_settings, cancel=lambda _: None)
        worker_signals.start()
        # It asks who follows threads.
        await eventually(lambda: sum(publishes) == 1)
        publishes.clear()

        for turn_id in turn_ids:
            worker_signals.publish_turn_ended(turn_id)
        await eventually(lambda: sum(publishes) == 100)
        worker_signals.publish_turn_ended("alone")
        await eventually(lambda: sum(publishes) == 101)
        for turn_id in meanwhile:
            worker_signals.publish_turn_ended(turn_id)
            await asyncio.sleep(0)
        await eventually(lambda: sum(publishes) == 151)
        await worker_signals.stop()
        heard_signals = [await listener.get_message(timeout=SOON_SECONDS) for _ in range(152)]

    assert publishes[:2] == [100, 1]
    channels = [signal["channel"].decode() for signal in heard_signals[1:] if signal is not None]
    assert channels == [turn_channel(turn_id) for turn_id in [*turn_ids, "alone", *meanwhile]]


async def test_ends_that_wait_for_a_slow_server_are_bounded(
    deaf_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("store.live.publications.WAITING_MAX", 5)
    worker_signals = WorkerSignals(deaf_settings, cancel=lambda _: None)
    worker_signals.start()

    for number in range(50):
        worker_signals.publish_turn_ended(f"turn-{number}")
    waiting = len(worker_signals._publications._waiting)
    await worker_signals.stop()

    assert waiting == 5


async def test_a_cancel_request_reaches_the_worker_from_either_kind_of_caller(
    settings: Settings, worker_signals: WorkerSignals, cancelled: list[str], open_signals: Callable[[Settings], Signals]
) -> None:
    caller = open_signals(settings)
    await eventually(lambda: "sync" in cancelled, lambda: caller.publish(CANCEL_CHANNEL, "sync"))

    await caller.publish_async(CANCEL_CHANNEL, "async")

    await eventually(lambda: "async" in cancelled)


async def test_a_worker_listens_again_once_its_server_is_back(
    settings: Settings, cancelled: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signals, "LISTEN_AGAIN_SECONDS", 0.05)
    with EmbeddedValkey(tmp_path / "valkey") as server:
        here = settings.model_copy(update={"broker_url": SecretStr(server.url)})
        port = int(server.url.rpartition(":")[2].partition("/")[0])
        worker_signals = WorkerSignals(here, cancel=cancelled.append)
        worker_signals.start()
        caller = Signals(here)
        await eventually(lambda: "before" in cancelled, lambda: caller.publish(CANCEL_CHANNEL, "before"))

    with EmbeddedValkey(tmp_path / "valkey", port=port):
        await eventually(lambda: "after" in cancelled, lambda: caller.publish(CANCEL_CHANNEL, "after"))
        await worker_signals.stop()


@pytest.fixture(params=["closed", "silent"])
def deaf_settings(request: pytest.FixtureRequest, settings: Settings) -> Iterator[Settings]:
    """The settings of a broker that refuses, and of one that accepts and never answers."""

    def at(port: int) -> Settings:
        url = SecretStr(f"redis://:x@127.0.0.1:{port}/0")
        return settings.model_copy(update={"broker_url": url, "notify_timeout_seconds": 0.3})

    if request.param == "closed":
        yield at(free_port())
        return
    with silent_server() as port:
        yield at(port)


async def test_a_server_that_hears_nothing_holds_nobody_up_and_fails_nobody(
    deaf_settings: Settings, open_signals: Callable[[Settings], Signals]
) -> None:
    worker_signals = WorkerSignals(deaf_settings, cancel=lambda _: None)
    worker_signals.start()
    started = time.monotonic()

    await open_signals(deaf_settings).publish_async(CANCEL_CHANNEL, TURN)
    worker_signals.publish_turn_ended(TURN)
    await worker_signals.stop()

    assert time.monotonic() - started < 20
