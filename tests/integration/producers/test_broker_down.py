"""A broker that is away or hangs costs a sender a second at first, then nothing, and never the message."""

import asyncio
import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from producers import notifier
from producers.producer import Producer
from store.database.engine import Database
from store.settings import Settings
from store.turns import sweep
from tests.integration.producers.backend import counts, free_port, queued_wake_ups, said, silent_server
from threadmill.embedded.valkey import EmbeddedValkey

#: The bound of one publish.
BOUND_SECONDS = 1.0
#: Seconds beyond the publish's own bound that a busy test machine may take.
SLACK_SECONDS = 10.0


@contextmanager
def closed_port() -> Iterator[int]:
    yield free_port()


@pytest.fixture(params=["closed", "silent"])
def dead_broker(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a broker that refuses, and of one that accepts and never answers."""
    open_one: dict[str, Callable[[], Any]] = {"closed": closed_port, "silent": silent_server}
    with open_one[request.param]() as port:
        yield f"redis://:secret@127.0.0.1:{port}/0"


@pytest.fixture
def cut_off(settings: Settings, dead_broker: str, worker: str) -> Iterator[Producer]:
    """A producer whose broker is dead."""
    producer = Producer(with_broker(settings, dead_broker))
    yield producer
    producer.close()


def with_broker(settings: Settings, url: str) -> Settings:
    return settings.model_copy(update={"broker_url": SecretStr(url), "notify_timeout_seconds": BOUND_SECONDS})


def seconds_of(call: Callable[[], object]) -> float:
    started = time.monotonic()
    call()
    return time.monotonic() - started


def test_the_message_is_stored_and_after_a_few_failures_sending_is_quick_again(
    cut_off: Producer, database: Database
) -> None:
    send = partial(cut_off.send, "t", "hello")

    first = [seconds_of(send) for _ in range(notifier.FAILURES_TO_OPEN + 1)]
    later = [seconds_of(send) for _ in range(10)]

    bound = BOUND_SECONDS + SLACK_SECONDS
    assert max(first) < bound
    assert sorted(later)[len(later) // 2] < 0.2
    assert counts(database)["turns"] == len(first) + len(later)


async def test_an_event_loop_goes_on_meanwhile(
    settings: Settings, dead_broker: str, worker: str, database: Database
) -> None:
    """A ticker ticks every 10 ms while a send waits for a dead broker."""
    producer = Producer(with_broker(settings, dead_broker))
    await producer.send_async("t", "imports and connects")
    ticks: list[float] = []

    async def tick() -> None:
        while True:
            ticks.append(time.monotonic())
            await asyncio.sleep(0.01)

    ticker = asyncio.create_task(tick())
    started = time.monotonic()
    await asyncio.gather(*(producer.send_async(f"t-{n}", "hello") for n in range(5)))
    took = time.monotonic() - started
    ticker.cancel()

    pauses = [after - before for before, after in itertools.pairwise(ticks)]
    assert took < BOUND_SECONDS + SLACK_SECONDS
    assert max(pauses, default=0.0) < 0.5
    assert counts(database)["turns"] == 6
    await producer.close_async()


def test_the_sweep_finds_a_turn_without_a_wake_up_once_its_grace_is_over(cut_off: Producer, database: Database) -> None:
    turn = cut_off.send("t", "hello")
    pick_again = partial(sweep.pick_wake_ups, grace_seconds=10, limit=10)
    assert database.run(pick_again) == []

    database.run(lambda c: c.execute(text("UPDATE turns SET notified_at = notified_at - interval '11 s'")))

    assert [wake_up.turn_id for wake_up in database.run(pick_again)] == [turn.id]


def test_many_senders_at_once_are_held_up_once_and_together(cut_off: Producer, database: Database) -> None:
    from concurrent.futures import ThreadPoolExecutor

    cut_off.send("t", "imports and connects")
    with ThreadPoolExecutor(10) as pool:
        took = seconds_of(lambda: list(pool.map(lambda n: cut_off.send(f"t-{n}", "hello"), range(10))))

    assert took < 2 * BOUND_SECONDS + SLACK_SECONDS
    assert counts(database)["turns"] == 11


def test_a_broker_that_comes_back_gets_wake_ups_again(
    settings: Settings, worker: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifier, "OPEN_SECONDS", 0.2)
    with EmbeddedValkey(tmp_path / "valkey") as server:
        producer = Producer(with_broker(settings, server.url))
        url, port = server.url, int(server.url.rpartition(":")[2].partition("/")[0])
        assert producer.send("t", "hello").notify()
    assert [producer.send("t", "hello").notify() for _ in range(notifier.FAILURES_TO_OPEN)].count(True) == 0

    with EmbeddedValkey(tmp_path / "valkey", port=port) as server:
        assert server.url == url
        time.sleep(0.3)
        turn = producer.send("u", "are you back?")

        assert turn.id in queued_wake_ups(producer.settings)
        assert turn.notify()
    producer.close()


def test_a_broker_that_freezes_in_use_holds_a_sender_up_for_the_bound_only(
    settings: Settings, worker: str, database: Database, tmp_path: Path
) -> None:
    import os
    import signal

    import redis

    with EmbeddedValkey(tmp_path / "valkey") as server:
        producer = Producer(with_broker(settings, server.url))
        producer.send("t", "connects")
        with redis.Redis.from_url(server.url) as client:
            pid = int(client.info("server")["process_id"])
        os.kill(pid, signal.SIGSTOP)
        try:
            took = [seconds_of(lambda: producer.send("t", "hello")) for _ in range(6)]
        finally:
            os.kill(pid, signal.SIGCONT)
        producer.close()

    assert max(took) < BOUND_SECONDS + SLACK_SECONDS
    assert min(took[-2:]) < 0.2
    assert counts(database)["turns"] == 7


def test_a_producer_that_was_closed_notifies_nobody_and_fails_nobody(producer: Producer, database: Database) -> None:
    turn = producer.send("t", "hello")
    producer.connections.notifier.close()

    late = producer.send("t", "late")

    assert turn.notify() is False
    assert said(database, late.id).content == "late"


def test_the_brokers_password_is_in_no_log(
    cut_off: Producer, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    cut_off.send("t", "hello")
    # A broker that never answers is told of by the helper thread, after the sender has gone on.
    cut_off.connections.notifier.close()

    printed = capfd.readouterr()
    told = caplog.text + printed.out + printed.err
    assert "wake_up_not_published" in told
    assert "secret" not in told
