"""What is counted on a turn, and what is not: retries, crashes, versions, calls that were cut off."""

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select, update

from conversation.errors import LeaseLost
from conversation.message import Usage
from conversation.step import Step
from conversation.turn import Cancelled, Failed, HandOver, RetryLater, TurnError, TurnRecord
from store import tables
from store.database.engine import Database
from store.turns import journal as steps
from store.turns import records, workers
from store.turns.claims import ClaimRequest
from store.turns.worker_listing import list_workers
from tests.integration.store.turns.test_lifecycle import Store, answer

AWAY = RetryLater(after=timedelta(0), error=TurnError("model_error", "away", retryable=True))


@pytest.fixture
def store(any_database: Database) -> Store:
    store = Store(any_database)
    store.worker()  # its agent may be asked for
    return store


def record(store: Store, turn_id: str) -> TurnRecord:
    return store.database.run(records.read, turn_id=turn_id)


def take_back(store: Store, worker: str) -> int:
    return store.database.run(workers.undo_crashes, worker=worker)


def test_only_being_put_off_counts_as_a_retry(store: Store) -> None:
    sent = store.send("hello")
    endings = [HandOver(), AWAY, HandOver(), AWAY]

    for ending in endings:
        store.settle(store.claim_turn(store.worker()), ending)

    found = record(store, sent.turn_id)
    assert (found.attempt, found.retries, found.crashes) == (4, 2, 0)
    assert store.claim_turn(store.worker()).retries == 2


def test_a_worker_that_was_only_away_takes_the_crashes_back_that_it_was_counted_for(store: Store) -> None:
    sent = store.send("hello")
    stopped = store.worker()
    store.claim_turn(stopped)
    store.kill(stopped)
    store.claim_turn(store.worker())
    assert record(store, sent.turn_id).crashes == 1

    lived = [take_back(store, stopped.worker) for _ in range(2)]

    assert lived == [1, 0]
    assert record(store, sent.turn_id).crashes == 0


def test_nobody_takes_back_the_crash_of_another(store: Store) -> None:
    sent = store.send("hello")
    stopped, dead = store.worker(), store.worker()
    for worker in (stopped, dead):
        store.claim_turn(worker)
        store.kill(worker)
    store.claim_turn(store.worker(runs_quarantine=True))

    assert take_back(store, stopped.worker) == 0

    assert record(store, sent.turn_id).crashes == 2


def test_who_leaves_in_good_order_hands_back_what_it_still_holds(store: Store) -> None:
    """Its own way to hand it back had failed: no crash is counted, and nobody waits for a lease to lapse."""
    sent, other = store.send("hello"), store.send("hello", thread="other")
    leaving, staying = store.worker(), store.worker()
    left, kept = store.claim_turn(leaving), store.claim_turn(staying, thread="other")

    store.database.run(workers.unregister, worker=leaving.worker)

    assert (store.state(sent.turn_id), store.state(other.turn_id)) == ("queued", "running")
    with pytest.raises(LeaseLost):
        store.settle(left, answer("late"))
    store.settle(kept, answer("hi"))
    assert store.claim_turn(store.worker()).attempt == 2
    assert record(store, sent.turn_id).crashes == 0


def test_a_worker_that_enters_itself_twice_is_entered_once(store: Store) -> None:
    """The answer to its first COMMIT was lost."""
    entry = {"host": "here", "pid": 1, "serves": {"assistant": "1"}, "lease_duration_seconds": 60}
    worker = store.worker().worker

    store.database.run(workers.register, **entry, worker=worker)

    assert [listed.state for listed in store.database.run(list_workers, worker_ids=[worker])] == ["alive"]


def test_who_goes_on_after_a_failover_that_forgot_its_commit_counts_no_crash(store: Store) -> None:
    first = store.send("one")
    store.send("two")
    claimed = store.claim_turn(store.worker())
    assert store.settle(claimed, answer("hi")).keeps_lease
    with store.database.engine.begin() as connection:
        mine = tables.turns.c.id == first.turn_id
        connection.execute(update(tables.turns).where(mine).values(state="running", finished_at=None))
        connection.execute(tables.messages.delete().where(tables.messages.c.role == "assistant"))
        connection.execute(update(tables.threads).values(last_seq=1))

    again = store.claim_turn(ClaimRequest(worker=claimed.lease.worker, agents={"assistant": "1"}), held=claimed.lease)

    assert (again.id, record(store, first.turn_id).crashes) == (first.turn_id, 0)


def test_the_version_in_force_goes_on_with_what_another_began(store: Store) -> None:
    sent = store.send("hello")
    asked = Step(index=0, kind="model", state="finished", result={"content": "I look"})
    old = store.claim_turn(store.worker())
    store.record(old, asked)
    store.settle(old, HandOver())

    newer = store.worker()
    newer = type(newer)(worker=newer.worker, agents={"assistant": "2"})
    resumed = store.claim_turn(newer)

    assert resumed.steps[0].result == {"content": "I look"}
    assert record(store, sent.turn_id).agent_version == "2"


def test_a_call_that_a_cancel_cut_off_is_unknown_in_the_journal(store: Store) -> None:
    store.send("hello")
    claimed = store.claim_turn(store.worker())
    done = Step(index=0, kind="tool", call_id="c0", state="failed", result={"content": "no"})
    store.record(claimed, done, Step(index=1, kind="tool", call_id="c1", state="started"))

    store.settle(claimed, Cancelled())

    journal = store.database.run(steps.load, turn_id=claimed.id)
    assert [step.state for step in journal.values()] == ["failed", "unknown"]


def test_a_final_step_stays_as_it_is(store: Store) -> None:
    store.send("hello")
    claimed = store.claim_turn(store.worker())
    unknown = Step(index=0, kind="tool", call_id="c0", state="unknown", result={"content": "who knows"})
    store.record(claimed, unknown)

    store.record(claimed, Step(index=0, kind="tool", call_id="c0", state="finished", result={"content": "x"}))

    journal = store.database.run(steps.load, turn_id=claimed.id)
    assert (journal[0].state, journal[0].result) == ("unknown", {"content": "who knows"})


def test_a_token_that_a_failover_gave_out_again_is_not_its_first_holders(store: Store) -> None:
    """A promoted replica has forgotten a claim; the next worker gets the same token for the same turn."""
    sent = store.send("hello")
    forgotten = store.claim_turn(store.worker())
    with store.database.engine.begin() as connection:
        connection.execute(update(tables.threads).values(lease_owner=None, fencing_token=0))
        connection.execute(update(tables.turns).values(state="queued", attempt=0))
    current = store.claim_turn(store.worker())
    assert current.lease.fencing_token == forgotten.lease.fencing_token

    with pytest.raises(LeaseLost):
        store.record(forgotten, Step(index=0, kind="model", state="finished"))
    with pytest.raises(LeaseLost):
        store.settle(forgotten, answer("late"))

    with store.database.engine.begin() as connection:
        assert connection.execute(select(tables.steps)).all() == []
    store.settle(current, answer("hi"))
    assert record(store, sent.turn_id).state == "completed"


@pytest.mark.parametrize("ending", [AWAY, HandOver()], ids=["put off", "handed over"])
def test_what_was_spent_on_a_call_without_a_reply_stays_on_its_turn(
    store: Store, ending: RetryLater | HandOver
) -> None:
    store.send("hello")
    spent = Step(index=0, kind="model", name="m", state="started", usage=Usage(100, 7), cost=0.25)

    store.settle(store.claim_turn(store.worker()), replace(ending, steps=(spent,)))

    again = store.claim_turn(store.worker())
    assert (again.steps[0].usage, again.steps[0].cost, again.steps[0].is_final) == (Usage(100, 7), 0.25, False)
    total = replace(spent, name="other", state="finished", usage=Usage(110, 12), result={"content": "ok"})
    store.settle(again, replace(answer("ok"), steps=(total,), usage=Usage(110, 12)))
    kept = store.database.run(steps.load, turn_id=again.id)[0]
    assert (kept.state, kept.name, kept.usage) == ("finished", "other", Usage(110, 12))


def test_such_a_call_is_still_to_be_asked_after_its_turn_failed(store: Store) -> None:
    store.send("hello")
    claimed = store.claim_turn(store.worker())
    spent = Step(index=0, kind="model", name="m", state="started", usage=Usage(100, 7), cost=0.25)
    error = TurnError("model_error", "refused")

    store.settle(claimed, Failed(error=error, steps=(spent,), usage=Usage(100, 7), cost=0.25))

    assert not store.database.run(steps.load, turn_id=claimed.id)[0].is_final
    assert record(store, claimed.id).usage == Usage(100, 7)


def test_what_was_left_out_of_the_window_is_of_the_turn_and_makes_its_thread_due(store: Store) -> None:
    sent = store.send("hello")
    omitted = {"messages": ["m1"], "cut": {"m2": 900}}

    settled = store.settle(store.claim_turn(store.worker()), replace(answer("ok"), omitted=omitted, window_tokens=4000))

    assert record(store, sent.turn_id).omitted == omitted
    assert settled.window_tokens == 4000
    store.send("again")
    assert store.settle(store.claim_turn(store.worker()), answer("ok")).window_tokens is None
