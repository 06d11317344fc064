"""An idempotency key: the same request again is the first turn again, whoever asks, however close."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from multiprocessing import get_context
from typing import Any

import pytest
from sqlalchemy import text

from conversation.attachment import Attachment
from conversation.errors import IdempotencyConflict
from producers.producer import Producer
from store.database.engine import Database
from store.settings import Settings, load
from tests.integration.producers.backend import SpyNotifier, counts, queued_wake_ups

LATER = datetime(2100, 1, 1, tzinfo=UTC)


PICTURE = {"type": "image_url", "image_url": {"url": "https://example.org/cat.png"}}
OTHER_PICTURE = {"type": "image_url", "image_url": {"url": "https://example.org/dog.png"}}


def test_the_same_request_consumes_nothing_and_notifies_nobody(
    producer: Producer, database: Database, settings: Settings
) -> None:
    options: dict[str, Any] = {"idempotency_key": "k", "metadata": {"b": 1, "a": 2}, "priority": 3}
    first = producer.send("t", "hello", **options)
    before = counts(database)

    again = producer.send("t", "hello", **{**options, "metadata": {"a": 2, "b": 1}})

    assert (again.id, again.is_new, first.is_new) == (first.id, False, True)
    assert counts(database) == before
    assert queued_wake_ups(settings) == [first.id]


@pytest.mark.parametrize(
    "changed",
    [
        {"thread_id": "another"},
        {"content": "something else"},
        {"metadata": {"a": 1}},
        {"priority": 9},
        {"user": "ann"},
        {"role": "system"},
        {"not_before": LATER},
        {"deadline": LATER},
        {"agent": "clerk", "allow_unknown_agent": True},
        {"attachments": [Attachment(filename="a.txt", content=b"two")]},
        {"attachments": [Attachment(filename="b.txt", content=b"one")]},
        {"attachments": []},
        {"content": ["hello", PICTURE]},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_another_request_under_the_same_key_is_refused_and_changes_nothing(
    producer: Producer, database: Database, changed: dict[str, Any]
) -> None:
    sent: dict[str, Any] = {
        "thread_id": "t",
        "content": "hello",
        "idempotency_key": "k",
        "attachments": [Attachment(filename="a.txt", content=b"one")],
    }
    producer.send(**sent)
    before = counts(database)

    with pytest.raises(IdempotencyConflict, match="idempotency_key: 'k' was used with another request"):
        producer.send(**(sent | changed))

    assert counts(database) == before


@pytest.mark.parametrize("changed", [["look", OTHER_PICTURE], [PICTURE, "look"], ["look"], "look"], ids=str)
def test_another_picture_or_another_order_is_another_request(
    producer: Producer, database: Database, changed: Any
) -> None:
    turn = producer.send("t", ["look", PICTURE], idempotency_key="k")

    assert producer.send("t", ["look", PICTURE], idempotency_key="k").id == turn.id
    with pytest.raises(IdempotencyConflict):
        producer.send("t", changed, idempotency_key="k")
    assert counts(database)["turns"] == 1


def test_a_key_belongs_to_its_tenant(producer: Producer) -> None:
    first = producer.send("t", "hello", idempotency_key="k", tenant="a")
    second = producer.send("t", "something else", idempotency_key="k", tenant="b")

    assert first.id != second.id
    assert second.is_new


def test_a_refused_request_does_not_use_its_key_up(producer: Producer) -> None:
    with pytest.raises(Exception, match="agent"):
        producer.send("t", "hello", idempotency_key="k", agent="nobody")

    assert producer.send("t", "something else", idempotency_key="k").is_new


@pytest.mark.parametrize("first_commits", [True, False])
def test_a_second_sender_waits_for_the_first_ones_commit_or_takes_its_place(
    producer: Producer, database: Database, first_commits: bool
) -> None:
    producer.send("t", "the thread is there")
    with ThreadPoolExecutor(1) as pool, database.engine.connect() as connection:
        holder = producer.send("t", "hello", idempotency_key="k", connection=connection)
        waiting = pool.submit(producer.send, "t", "hello", idempotency_key="k")
        wait_for_a_waiter(database)
        assert not waiting.done()

        (connection.commit if first_commits else connection.rollback)()
        second = waiting.result(timeout=10)

    assert second.is_new is not first_commits
    assert (second.id == holder.id) is first_commits
    assert counts(database)["turns"] == 2


async def test_the_same_race_on_an_event_loop(producer: Producer, async_producer: Producer, database: Database) -> None:
    import asyncio

    producer.send("t", "the thread is there")
    with database.engine.connect() as connection:
        holder = producer.send("t", "hello", idempotency_key="k", connection=connection)
        waiting = asyncio.create_task(async_producer.send_async("t", "hello", idempotency_key="k"))
        await asyncio.to_thread(wait_for_a_waiter, database)

        connection.commit()
        second = await waiting

    assert (second.id, second.is_new) == (holder.id, False)


def test_of_many_threads_at_once_one_makes_the_turn(producer: Producer, database: Database, spy: SpyNotifier) -> None:
    together = threading.Barrier(8)

    def send(_: int) -> Any:
        together.wait()
        return producer.send("t", "hello", idempotency_key="k")

    with ThreadPoolExecutor(8) as pool:
        sent = list(pool.map(send, range(8)))

    assert len({turn.id for turn in sent}) == 1
    assert [turn.is_new for turn in sent].count(True) == 1
    assert (counts(database)["turns"], counts(database)["inbox_messages"], len(spy.notified)) == (1, 1, 1)


@pytest.mark.soak
def test_of_several_processes_at_once_one_makes_the_turn(database: Database, settings: Settings, worker: str) -> None:
    context = get_context("spawn")
    together = context.Barrier(3)
    answers = context.Queue()
    values = [settings.database_url.get_secret_value(), settings.broker_url.get_secret_value()]
    processes = [context.Process(target=send_from_process, args=[*values, together, answers]) for _ in range(3)]
    for process in processes:
        process.start()

    sent = [answers.get(timeout=60) for _ in processes]

    for process in processes:
        process.join(timeout=30)
    assert len({turn_id for turn_id, _ in sent}) == 1
    assert sorted(is_new for _, is_new in sent) == [False, False, True]
    assert counts(database)["turns"] == 1


def send_from_process(database_url: str, broker_url: str, together: Any, answers: Any) -> None:
    producer = Producer(load(database_url=database_url, broker_url=broker_url, notify_timeout_seconds=10))
    together.wait(timeout=60)
    turn = producer.send("t", "hello", idempotency_key="k")
    answers.put((turn.id, turn.is_new))
    producer.close()


def wait_for_a_waiter(database: Database) -> None:
    """Until somebody waits for another transaction's row."""
    waiters = text(
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE datname = current_database() AND wait_event_type = 'Lock' AND wait_event = 'transactionid'"
    )
    for _ in range(500):
        if database.run(lambda c: c.execute(waiters).scalar_one()):
            return
        threading.Event().wait(0.01)
    raise AssertionError("nobody waits")
