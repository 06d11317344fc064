"""Limits of a turn and of a tenant, where the database holds them."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from conversation.errors import Fault, IdempotencyConflict, LimitReached
from conversation.turn import ClaimedTurn, HandOver
from store.database.engine import Database
from store.tables import turns
from store.turns.claims import NothingDue
from store.turns.send_request import SendLimits
from store.turns.sweep import pick_wake_ups
from tests.integration.store.turns.test_lifecycle import Store, answer


@pytest.fixture
def store(any_database: Database) -> Store:
    store = Store(any_database)
    store.worker()  # its agent may be asked for
    return store


def unfinished(count: int) -> SendLimits:
    """As many unfinished turns of a tenant as it may have."""
    return SendLimits(tenant_max_unfinished_turns=count)


def wake_ups(store: Store, tenant_max_running: int) -> set[str]:
    picked = store.database.run(pick_wake_ups, grace_seconds=0, limit=10, tenant_max_running=tenant_max_running)
    return {wake_up.thread_id for wake_up in picked}


def test_a_message_beyond_the_tenants_unfinished_turns_is_refused_and_stores_nothing(store: Store) -> None:
    for thread in ("a", "b"):
        store.send("hello", thread, limits=unfinished(2))

    with pytest.raises(LimitReached, match="tenant: 'default' has 2 unfinished turns"):
        store.send("one more", "c", limits=unfinished(2))

    store.settle(store.claim_turn(store.worker(), "a"), answer("hi"))
    assert store.send("one more", "c", limits=unfinished(2)).is_new


def test_a_key_that_was_used_before_answers_at_the_limit_too(store: Store) -> None:
    first = store.send("hello", idempotency_key="k", limits=unfinished(1))

    assert store.send("hello", idempotency_key="k", limits=unfinished(1)).turn_id == first.turn_id
    with pytest.raises(IdempotencyConflict):
        store.send("other", idempotency_key="k", limits=unfinished(1))


def test_a_tenant_runs_no_more_turns_at_once_than_it_may(store: Store) -> None:
    for thread in ("a", "b", "c"):
        store.send("hello", thread)
    worker = store.worker(tenant_max_running=2)
    running = [store.claim_turn(worker, thread) for thread in ("a", "b")]

    assert store.claim(worker, "c") == NothingDue()
    assert wake_ups(store, 2) == set()

    store.settle(running[0], answer("hi"))
    assert wake_ups(store, 2) == {"c"}
    assert isinstance(store.claim(worker, "c"), ClaimedTurn)


def test_a_turn_whose_worker_died_keeps_its_tenants_place(store: Store) -> None:
    store.send("hello", "a")
    dead = store.worker(tenant_max_running=1)
    store.claim_turn(dead, "a")
    store.kill(dead)

    assert wake_ups(store, 1) == {"a"}
    assert isinstance(store.claim(store.worker(tenant_max_running=1), "a"), ClaimedTurn)


def test_a_claim_knows_how_long_its_turn_may_take(store: Store) -> None:
    store.send("hello", deadline=datetime.now(UTC) + timedelta(hours=1))

    claimed = store.claim_turn(store.worker())

    assert claimed.remaining_seconds is not None
    assert 3000 < claimed.remaining_seconds <= 3600


def test_a_deadline_holds_for_a_turn_that_was_begun_in_time(store: Store) -> None:
    accepted = store.send("hello", deadline=datetime.now(UTC) + timedelta(hours=1))
    store.settle(store.claim_turn(store.worker()), HandOver())
    with store.database.engine.begin() as connection:
        past = datetime.now(UTC) - timedelta(seconds=1)
        connection.execute(update(turns).where(turns.c.id == accepted.turn_id).values(deadline=past))

    refused = store.refusal(store.worker())

    assert (refused.kind, refused.fault) == ("deadline", Fault.OPERATOR)
