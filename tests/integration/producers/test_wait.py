"""Waiting for a turn: woken by a signal where there is one, by looking again where there is none."""

import asyncio
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
import redis
from sqlalchemy import text

from conversation.task_contract import CANCEL_CHANNEL, turn_channel
from conversation.turn import Failed, TurnError, TurnState
from producers import turn as handles
from producers.producer import Producer
from store.database.engine import Database
from store.settings import Settings, load
from store.turns import settle as turns
from tests.integration.producers.backend import answer, claim, free_port, silent_server

pytestmark = pytest.mark.soak


@pytest.fixture(params=["sync", "async"])
def wait(request: pytest.FixtureRequest) -> Any:
    """Waits for a turn in the way of one kind of caller; gives the result."""

    def wait_async(producer: Producer, turn_id: str, timeout: float | None) -> Any:
        async def waiting() -> Any:
            try:
                return await (await producer.find_turn_async(turn_id)).wait(timeout)
            finally:
                await producer.database.close_async()

        return asyncio.run(waiting())

    def wait_sync(producer: Producer, turn_id: str, timeout: float | None) -> Any:
        return producer.find_turn(turn_id).wait(timeout)

    return wait_sync if request.param == "sync" else wait_async


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks that nobody asked for come too late for the test: only a signal wakes."""
    monkeypatch.setattr(handles, "POLL_FIRST_SECONDS", 30.0)
    monkeypatch.setattr(handles, "POLL_MAX_SECONDS", 30.0)


def listeners(client: Any, channel: str) -> int:
    return int(client.pubsub_numsub(channel)[0][1])


def later(action: Any, *, when: Any = lambda: True) -> threading.Thread:
    """Do something in another thread as soon as it is time."""

    def run() -> None:
        give_up_at = time.monotonic() + 20
        while not when() and time.monotonic() < give_up_at:
            time.sleep(0.01)
        action()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


@pytest.mark.usefixtures("patient")
def test_a_signal_wakes_a_waiter_long_before_it_would_look_again(
    producer: Producer, settings: Settings, database: Database, worker: str, wait: Any
) -> None:
    turn = producer.send("t", "hello")
    channel = turn_channel(turn.id)
    with redis.Redis.from_url(settings.broker_url.get_secret_value()) as client:

        def finish() -> None:
            answer(database, worker, "t", "hi")
            client.publish(channel, "completed")

        thread = later(finish, when=lambda: listeners(client, channel) > 0)
        started = time.monotonic()

        result = wait(producer, turn.id, 60)

        took = time.monotonic() - started
        thread.join()
    assert (result.state, result.content) == (TurnState.COMPLETED, "hi")
    assert took < 25


@pytest.fixture(params=["closed", "silent"])
def without_signals(request: pytest.FixtureRequest, settings: Settings, worker: str) -> Iterator[Producer]:
    """A producer whose broker cannot wake anybody."""

    def producer_at(port: int) -> Producer:
        url = settings.database_url.get_secret_value()
        return Producer(load(database_url=url, broker_url=f"redis://:x@127.0.0.1:{port}/0"))

    if request.param == "closed":
        producer = producer_at(free_port())
        yield producer
        producer.close()
        return
    with silent_server() as port:
        producer = producer_at(port)
        yield producer
        producer.close()


def test_without_a_signal_the_end_is_found_by_looking(
    without_signals: Producer, database: Database, worker: str, wait: Any
) -> None:
    turn = without_signals.send("t", "hello")
    thread = later(partial(answer, database, worker, "t", "hi"))

    result = wait(without_signals, turn.id, 20)

    thread.join()
    assert result.content == "hi"


def test_a_timeout_is_kept_whatever_the_broker_does(without_signals: Producer, wait: Any) -> None:
    turn = without_signals.send("t", "hello")
    started = time.monotonic()

    with pytest.raises(TimeoutError, match=rf"turn {turn.id} has not ended after 0\.3 seconds"):
        wait(without_signals, turn.id, 0.3)

    assert 0.3 <= time.monotonic() - started < 10


def test_a_wait_without_seconds_is_a_look(producer: Producer, wait: Any) -> None:
    turn = producer.send("t", "hello")

    with pytest.raises(TimeoutError, match="after 0 seconds"):
        wait(producer, turn.id, 0)


def test_a_turn_that_has_ended_is_given_at_once_without_asking_the_broker(
    without_signals: Producer, database: Database, worker: str, wait: Any
) -> None:
    turn = without_signals.send("t", "hello")
    answer(database, worker, "t", "hi")

    assert wait(without_signals, turn.id, 0).content == "hi"
    assert wait(without_signals, turn.id, None).content == "hi"


def test_a_failed_turn_is_a_result_and_no_exception(
    producer: Producer, database: Database, worker: str, wait: Any
) -> None:
    turn = producer.send("t", "hello")
    claimed = claim(database, worker, "t")
    ending = Failed(error=TurnError("model_error", "refused: no"))
    database.run(turns.settle, lease=claimed.lease, turn_id=claimed.id, ending=ending, release=True)

    result = wait(producer, turn.id, 5)

    assert (result.state, result.messages, result.content) == (TurnState.FAILED, (), "")
    assert result.error == TurnError("model_error", "refused: no")


def test_waiters_that_are_done_leave_no_connection_behind(producer: Producer, settings: Settings, wait: Any) -> None:
    turn = producer.send("t", "hello")
    with redis.Redis.from_url(settings.broker_url.get_secret_value()) as client:
        for _ in range(3):
            with pytest.raises(TimeoutError):
                wait(producer, turn.id, 0.1)

        assert listeners(client, turn_channel(turn.id)) == 0


def test_a_wait_that_is_cancelled_ends(async_producer: Producer, worker: str) -> None:
    async def give_up() -> None:
        turn = await async_producer.send_async("t", "hello")
        waiting = asyncio.create_task(turn.wait())
        await asyncio.sleep(0.2)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await async_producer.database.close_async()

    asyncio.run(give_up())


def test_cancelling_a_turn_that_waits_ends_it(producer: Producer, wait: Any) -> None:
    turn = producer.send("t", "hello")

    assert turn.cancel() is TurnState.CANCELLED

    assert wait(producer, turn.id, 5).state is TurnState.CANCELLED


async def test_cancelling_a_turn_that_runs_asks_its_worker(
    async_producer: Producer, settings: Settings, database: Database, worker: str
) -> None:
    turn = await async_producer.send_async("t", "hello")
    claim(database, worker, "t")
    with redis.Redis.from_url(settings.broker_url.get_secret_value()) as client, client.pubsub() as heard:
        heard.subscribe(CANCEL_CHANNEL)
        heard.get_message(timeout=5)

        state = await turn.cancel()

        message = heard.get_message(timeout=5)
    assert state is TurnState.RUNNING
    assert message is not None
    assert message["data"] == turn.id.encode()
    assert (await turn.record()).cancel_requested_at is not None


def test_a_cancel_does_not_hang_on_a_broker_that_does(without_signals: Producer) -> None:
    turn = without_signals.send("t", "hello")
    started = time.monotonic()

    assert turn.cancel() is TurnState.CANCELLED

    assert time.monotonic() - started < 15


def test_the_record_tells_the_times_and_the_attempts(producer: Producer, database: Database, worker: str) -> None:
    turn = producer.send("t", "hello")
    answer(database, worker, "t", "hi")

    record = turn.record

    assert (record.attempt, record.crashes, record.agent) == (1, 0, "assistant")
    assert record.created_at <= record.started_at <= record.finished_at <= datetime.now(UTC)  # type: ignore[operator]
    assert database.run(lambda c: c.execute(text("SELECT count(*) FROM turns")).scalar_one()) == 1
