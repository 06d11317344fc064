"""The attempts at a turn that ended without ending it, as they are kept for an operator, on each road."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Delete, Select, Update, func, select, update

from conversation.errors import Fault
from conversation.ids import new_id
from conversation.turn import Failed, HandOver, RetryLater, TurnError, TurnRecord
from store import tables
from store.database.column_types import clock
from store.database.engine import Database
from store.turns import records, requeue, workers
from store.turns.attempts import TurnAttempt, read_attempts
from tests.integration.store.turns.test_lifecycle import Store, answer

ERROR = TurnError("model_error", "away", retryable=True, fault=Fault.PROVIDER)
AWAY = RetryLater(after=timedelta(0), error=ERROR)
PUT_OFF = RetryLater(after=timedelta(0), error=ERROR, is_put_off=True)


@pytest.fixture
def store(any_database: Database) -> Store:
    store = Store(any_database)
    store.worker()  # its agent may be asked for
    return store


def attempts(store: Store, turn_id: str) -> list[TurnAttempt]:
    return store.database.run(read_attempts, turn_id=turn_id)


def write(store: Store, statement: Update | Delete) -> None:
    store.database.run(lambda connection: connection.execute(statement))


def read(store: Store, statement: Select[Any]) -> list[Any]:
    return store.database.run(lambda connection: list(connection.execute(statement).scalars()))


def record(store: Store, turn_id: str) -> TurnRecord:
    return store.database.run(records.read, turn_id=turn_id)


def test_each_attempt_that_did_not_end_its_turn_is_kept(store: Store) -> None:
    sent = store.send("hello")
    dead = store.worker()
    claimants = [store.worker() for _ in range(3)]
    store.claim_turn(dead)
    store.kill(dead)
    for claimant, ending in zip(claimants, [AWAY, HandOver()], strict=False):
        store.settle(store.claim_turn(claimant), ending)
    store.claim_turn(claimants[2])
    store.database.run(workers.unregister, worker=claimants[2].worker)
    store.settle(store.claim_turn(store.worker()), answer("hi"))

    kept = attempts(store, sent.turn_id)

    assert [(one.number, one.outcome.value, one.worker_id, one.error_kind) for one in kept] == [
        (1, "crashed", dead.worker, None),
        (2, "retried", claimants[0].worker, "model_error"),
        (3, "interrupted", claimants[1].worker, None),
        (4, "interrupted", claimants[2].worker, None),
    ]
    assert all(one.started_at and one.started_at <= one.ended_at for one in kept)
    assert (kept[1].error_message, kept[1].error_fault) == ("away", Fault.PROVIDER)
    assert [one.next_try_at is not None for one in kept] == [False, True, False, False]


def test_a_turn_that_ends_at_its_first_attempt_has_none(store: Store) -> None:
    sent = store.send("hello")
    store.settle(store.claim_turn(store.worker()), answer("hi"))

    assert attempts(store, sent.turn_id) == []


def test_attempts_that_were_put_off_one_after_the_other_are_one(store: Store) -> None:
    sent = store.send("hello")
    for ending in (AWAY, PUT_OFF, PUT_OFF, PUT_OFF, AWAY, PUT_OFF):
        store.settle(store.claim_turn(store.worker()), ending)

    kept = attempts(store, sent.turn_id)

    assert [(one.number, one.outcome.value) for one in kept] == [
        (1, "retried"),
        (4, "put_off"),
        (5, "retried"),
        (6, "put_off"),
    ]
    assert record(store, sent.turn_id).retries == 2


def test_a_worker_that_was_only_away_did_not_crash(store: Store) -> None:
    sent = store.send("hello")
    stopped = store.worker()
    store.claim_turn(stopped)
    store.kill(stopped)
    store.claim_turn(store.worker())

    store.database.run(workers.undo_crashes, worker=stopped.worker)

    assert [one.outcome.value for one in attempts(store, sent.turn_id)] == ["interrupted"]


def test_a_turn_shows_its_error_and_its_next_try_until_it_is_answered(store: Store) -> None:
    sent = store.send("hello")
    later = RetryLater(after=timedelta(minutes=1), error=ERROR)
    store.settle(store.claim_turn(store.worker()), later)
    waiting = record(store, sent.turn_id)
    write(store, update(tables.turns).values(retry_at=None))
    turn = store.claim_turn(store.worker())
    running = record(store, sent.turn_id)
    store.settle(turn, answer("hi"))
    answered = record(store, sent.turn_id)

    assert (waiting.error, running.error, answered.error) == (ERROR, ERROR, None)
    assert [one.next_try_at is not None for one in (waiting, running, answered)] == [True, False, False]
    assert read(store, select(tables.turns.c.error_kind)) == [None]


def test_how_long_a_turn_fails_counts_from_its_first_failure_and_anew_once_it_is_requeued(store: Store) -> None:
    sent = store.send("hello")
    store.settle(store.claim_turn(store.worker()), AWAY)
    write(store, update(tables.turns).values(failing_since=clock(plus_seconds=-4 * 3600.0)))
    first = store.claim_turn(store.worker())
    store.settle(first, PUT_OFF)
    second = store.claim_turn(store.worker())
    store.settle(second, Failed(error=ERROR))
    store.database.run(requeue.requeue, turn_id=sent.turn_id, new_turn_id=new_id(), new_message_id=new_id())

    assert [one.failing_seconds > 3 * 3600 for one in (first, second)] == [True, True]
    assert store.claim_turn(store.worker()).failing_seconds == 0


def test_a_requeued_turn_keeps_the_attempt_that_failed(store: Store) -> None:
    sent = store.send("hello")
    store.settle(store.claim_turn(store.worker()), Failed(error=ERROR))
    for _ in range(2):
        store.database.run(requeue.requeue, turn_id=sent.turn_id, new_turn_id=new_id(), new_message_id=new_id())

    (kept,) = attempts(store, sent.turn_id)

    assert (kept.number, kept.outcome.value) == (1, "failed")
    assert (kept.error_kind, kept.error_fault) == ("model_error", Fault.PROVIDER)


def test_attempts_go_with_their_turn(store: Store) -> None:
    store.send("hello")
    store.settle(store.claim_turn(store.worker()), AWAY)

    write(store, tables.turns.delete())

    assert read(store, select(func.count()).select_from(tables.turn_attempts)) == [0]
