"""A thread is notified once until it is claimed, by whomever; and a wake-up that is lost is published again."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
import redis
from sqlalchemy import text

from conversation.turn import Completed, RetryLater, TurnError
from producers import Producer
from store.database.engine import Database
from store.settings import Settings, current
from store.turns import settle as settling
from store.turns import sweep_request
from tasks import maintenance, publish
from tasks.celery_app import app
from tests.integration.producers.backend import claim, queued_wake_ups

AWAY = TurnError("model_error", "away", retryable=True)


@pytest.fixture(autouse=True)
def maintaining(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process sweeps as the maintenance worker does, and a wake-up is old at once."""
    broker_url = settings.broker_url.get_secret_value()
    monkeypatch.setenv("THREADMILL_DATABASE_URL", settings.database_url.get_secret_value())
    monkeypatch.setenv("THREADMILL_BROKER_URL", broker_url)
    monkeypatch.setenv("THREADMILL_SWEEP_GRACE_SECONDS", "0")
    current.cache_clear()
    database = Database(current())
    monkeypatch.setattr(maintenance, "_database", lambda: database)
    monkeypatch.setattr(app.conf, "broker_url", broker_url)
    publish._publisher.cache_clear()
    with app.connection_for_read() as connection, connection.channel() as channel:
        channel.queue_purge("turns")
    yield
    publish._publisher.cache_clear()
    database.close()


def sweep(times: int = 3) -> None:
    for _ in range(times):
        maintenance.sweep()


def lose(settings: Settings, *, keep: int) -> None:
    """Have the broker lose all wake-ups but some, as one does that is restored from an older state."""
    with redis.Redis.from_url(settings.broker_url.get_secret_value()) as client:
        for key in client.scan_iter("turns*"):
            if client.type(key) == b"list":
                client.ltrim(key, 1, 0) if not keep else client.ltrim(key, 0, keep - 1)


def test_without_a_worker_the_queue_is_as_long_as_what_waits(
    producer: Producer, worker: str, settings: Settings
) -> None:
    turns = [producer.send(f"t{number}", "hello") for number in range(6)]

    sweep(5)

    assert sorted(queued_wake_ups(settings)) == sorted(turn.id for turn in turns)


def test_many_messages_of_one_thread_are_one_wake_up(
    producer: Producer, worker: str, settings: Settings, database: Database
) -> None:
    turns = [producer.send("t", str(number)) for number in range(10)]
    sweep()
    assert queued_wake_ups(settings) == [turns[0].id]

    claimed = claim(database, worker, "t")
    outcome = database.run(settling.settle, claimed.lease, claimed.id, Completed(), release=False)

    assert outcome.next_turn_id == turns[1].id


def test_a_more_urgent_message_has_a_wake_up_of_its_own(producer: Producer, worker: str, settings: Settings) -> None:
    turns = [producer.send("t", "hello", priority=priority) for priority in (3, 3, 9)]

    assert sorted(queued_wake_ups(settings)) == sorted([turns[0].id, turns[2].id])


def test_a_message_behind_a_turn_that_runs_has_a_wake_up(
    producer: Producer, worker: str, settings: Settings, database: Database
) -> None:
    """The turn may end at any moment: its worker may have looked for the next one already."""
    producer.send("t", "one")
    claim(database, worker, "t")

    second = producer.send("t", "two")

    assert second.id in queued_wake_ups(settings)


def test_a_message_behind_a_turn_that_waits_for_its_retry_has_none_and_the_retry_one(
    producer: Producer, worker: str, settings: Settings, database: Database
) -> None:
    first = producer.send("t", "one")
    claimed = claim(database, worker, "t")
    lose(settings, keep=0)
    later = RetryLater(after=timedelta(hours=1), error=AWAY)
    database.run(settling.settle, claimed.lease, claimed.id, later, release=True)

    producer.send("t", "two")
    sweep()
    assert queued_wake_ups(settings) == []

    database.run(lambda c: c.execute(text("UPDATE turns SET retry_at = now() WHERE retry_at IS NOT NULL")) and None)
    sweep()
    assert queued_wake_ups(settings) == [first.id]


@pytest.mark.parametrize("kept", [0, 2])
def test_wake_ups_that_the_broker_lost_are_published_again(
    producer: Producer, worker: str, settings: Settings, kept: int
) -> None:
    turns = [producer.send(f"t{number}", "hello") for number in range(6)]
    lose(settings, keep=kept)

    sweep()

    # Which of them are lost, nobody can say: as many as are missing, those first that were notified longest ago.
    assert len(queued_wake_ups(settings)) == 6
    lose(settings, keep=0)
    sweep()
    assert sorted(queued_wake_ups(settings)) == sorted(turn.id for turn in turns)


def test_a_turn_whose_worker_died_is_notified_once(
    producer: Producer, worker: str, settings: Settings, database: Database
) -> None:
    """Though the broker has one wake-up more than turns wait for: it is known to have none for this one."""
    lost = producer.send("lost", "hello")
    claim(database, worker, "lost")
    lose(settings, keep=0)
    waiting = [producer.send(f"t{number}", "hello") for number in range(3)]
    waiting[0].notify()
    database.run(lambda c: c.execute(text("UPDATE workers SET lease_expires_at = now() - interval '1 s'")) and None)

    sweep()

    assert sorted(queued_wake_ups(settings)) == sorted([lost.id, waiting[0].id, *(turn.id for turn in waiting)])


def test_what_nobody_can_see_is_lost_is_published_again_after_a_bound(
    producer: Producer, worker: str, settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wake-ups for what has run already make up for the missing one's number."""
    turn = producer.send("t", "hello")
    lose(settings, keep=0)
    done = producer.send("done", "hello")
    done.notify()
    claim(database, worker, "done")
    sweep()
    assert turn.id not in queued_wake_ups(settings)

    monkeypatch.setattr(sweep_request, "STUCK_SECONDS", 0.0)
    sweep(1)

    assert turn.id in queued_wake_ups(settings)
