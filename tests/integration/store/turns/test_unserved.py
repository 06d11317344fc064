"""Turns whose agent no living worker serves any more, and turns whose runs break off again and again."""

from datetime import timedelta

import pytest
from sqlalchemy import select, update

from conversation.errors import TurnNotRequeueable, UnknownAgent
from conversation.ids import new_id
from conversation.turn import Cancelled, Failed, HandOver, RefusedTurn, RetryLater, TurnError, TurnState
from store import tables
from store.database.column_types import clock
from store.database.engine import Database
from store.turns import cancel, records, unserved, workers
from store.turns.claims import INTERRUPTIONS_MAX, NothingDue
from store.turns.requeue import RequeueOutcome, requeue
from tests.integration.store.turns.test_lifecycle import Store, answer

AWAY = RetryLater(after=timedelta(hours=1), error=TurnError("model_error", "away", retryable=True))


class Renamed(Store):
    """A store in which the agent `gone` was served once."""

    def send_to_gone(self, thread: str = "t") -> str:
        return self.send("hello", thread=thread, agent="gone", allow_unknown_agent=True).turn_id

    def begin(self, thread: str = "t") -> str:
        """A turn of `gone` that has begun, and waits for its model."""
        turn_id = self.send_to_gone(thread)
        served = self.worker()
        claimed = self.claim_turn(type(served)(worker=served.worker, agents={"gone": "1"}), thread)
        self.settle(claimed, AWAY)
        return turn_id

    def give(self, turn_id: str, agent: str) -> RequeueOutcome:
        return self.database.run(requeue, turn_id, new_turn_id=new_id(), new_message_id=new_id(), agent=agent)

    def sweep(self) -> list[str | None]:
        """What the sweep ends, without a worker."""
        overdue = self.database.run(unserved.list_overdue, limit=10)
        ended = [self.database.run(unserved.end_overdue, *thread, sweeper=new_id()) for thread in overdue]
        return [turn.id if turn else None for turn in ended]

    def error_kind(self, turn_id: str) -> str | None:
        error = self.database.run(records.read, turn_id=turn_id).error
        return error.kind if error else None


@pytest.fixture
def store(any_database: Database) -> Renamed:
    store = Renamed(any_database)
    store.worker()
    return store


def test_they_are_counted_and_found_at_once(store: Renamed) -> None:
    turn_id = store.send_to_gone()
    served = store.send("hello", thread="other")

    assert store.database.run(unserved.count_unserved, tenant="default") == {"gone": 1}
    assert store.database.run(unserved.count_unserved, tenant="another") == {}
    assert store.database.run(unserved.find_unserved, turn_ids=[turn_id, served.turn_id]) == {turn_id}


@pytest.mark.parametrize("has_begun", [True, False])
def test_a_deadline_ends_one_without_a_worker(store: Renamed, has_begun: bool) -> None:
    turn_id = store.begin() if has_begun else store.send_to_gone()
    behind = store.send("hello")
    assert store.sweep() == []

    store.pass_deadline(turn_id)

    assert store.sweep() == [turn_id]
    assert (store.state(turn_id), store.error_kind(turn_id)) == (TurnState.FAILED, "deadline")
    assert store.sweep() == []
    assert store.claim_turn(store.worker()).id == behind.turn_id


def test_a_worker_of_other_agents_ends_one_whose_deadline_is_over(store: Renamed) -> None:
    turn_id = store.begin()
    assert isinstance(store.claim(store.worker()), NothingDue)
    store.pass_deadline(turn_id)

    refused = store.claim_refused(store.worker())

    assert isinstance(refused.ending, Failed)
    assert refused.ending.error.kind == "deadline"


def test_one_that_has_begun_can_be_cancelled(store: Renamed) -> None:
    turn_id = store.begin()

    store.database.run(cancel.request_cancel, turn_id=turn_id)

    assert store.sweep() == [turn_id]
    assert store.state(turn_id) is TurnState.CANCELLED


def test_the_sweep_leaves_a_turn_that_a_living_worker_runs(store: Renamed) -> None:
    turn = store.send("hello")
    claimed = store.claim_turn(store.worker())
    store.pass_deadline(turn.turn_id)
    store.database.run(cancel.request_cancel, turn_id=turn.turn_id)

    assert store.sweep() == []

    store.settle(claimed, Cancelled())
    assert store.state(turn.turn_id) is TurnState.CANCELLED


@pytest.mark.parametrize("has_begun", [True, False])
def test_one_can_be_answered_by_another_agent(store: Renamed, has_begun: bool) -> None:
    turn_id = store.begin() if has_begun else store.send_to_gone()

    for _ in range(2):
        assert store.give(turn_id, "assistant") == RequeueOutcome(turn_id, "default", "t", is_new=False)

    claimed = store.claim_turn(store.worker())
    assert (claimed.id, claimed.agent) == (turn_id, "assistant")
    assert store.database.run(unserved.count_unserved, tenant="default") == {}


def test_what_was_away_for_one_agent_is_not_held_against_the_other(store: Renamed) -> None:
    turn_id = store.begin()
    waits = {"state": "queued", "retries": 4, "failing_since": clock(), "waits_for": "m:1"}
    given = tables.turns.c.id == turn_id
    store.database.run(lambda c: c.execute(update(tables.turns).where(given).values(waits)))

    store.give(turn_id, "assistant")

    columns = tables.turns.c.retries, tables.turns.c.failing_since, tables.turns.c.waits_for
    row = store.database.run(lambda c: c.execute(select(*columns).where(given)).one())
    assert tuple(row) == (0, None, None)


def test_one_that_failed_can_be_asked_of_another_agent(store: Renamed) -> None:
    turn_id = store.send_to_gone()
    store.pass_deadline(turn_id)
    store.sweep()

    store.give(turn_id, "assistant")

    assert store.claim_turn(store.worker()).agent == "assistant"


def test_nobody_takes_a_running_turn_from_its_agent_or_gives_it_to_an_unknown_one(store: Renamed) -> None:
    turn = store.send("hello")
    with pytest.raises(UnknownAgent):
        store.give(turn.turn_id, "never")
    store.claim_turn(store.worker())

    with pytest.raises(TurnNotRequeueable):
        store.give(turn.turn_id, "assistant")


@pytest.mark.parametrize("way", ["handed over", "lost"])
def test_a_turn_whose_runs_break_off_again_and_again_is_ended(store: Renamed, way: str) -> None:
    """An agent that stops its worker each time would go on for ever, from one to the next."""
    turn = store.send("hello")
    for _ in range(INTERRUPTIONS_MAX):
        worker = store.worker()
        claimed = store.claim_turn(worker)
        if way == "handed over":
            store.settle(claimed, HandOver())
        else:
            (held,) = store.database.run(workers.list_held_threads, worker=worker.worker)
            store.database.run(workers.release, worker=worker.worker, held=held)

    refused = store.claim_refused(store.worker())

    assert isinstance(refused, RefusedTurn)
    assert isinstance(refused.ending, Failed)
    assert refused.ending.error.kind == "poison"
    store.settle(refused, refused.ending)
    # Once its cause is mended it may begin anew.
    store.database.run(requeue, turn.turn_id, new_turn_id=new_id(), new_message_id=new_id())
    store.settle(store.claim_turn(store.worker()), answer("hi"))
