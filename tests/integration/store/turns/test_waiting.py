"""A turn that waits for decisions: it holds nothing, is queued by the last decision, and ends where none comes."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import select, update

from conversation.errors import AlreadyDecided, DigestMismatch, InvalidInput, LeaseLost, PendingCallNotFound
from conversation.ids import new_id
from conversation.message import Message, ToolCall
from conversation.pending_call import Decision, DecisionKind, PendingKind, PendingRequest
from conversation.step import Step
from conversation.turn import Cancelled, ClaimedTurn, Completed, Failed, RefusedTurn, TurnState, Waiting
from store.database.column_types import clock
from store.database.engine import Database
from store.tables import audit, pending_calls, threads, turns
from store.turns import cancel, claims, decisions, inbox, journal, records, sweep, workers
from store.turns.attempts import read_attempts
from store.turns.claims import ClaimRequest, NothingDue
from store.turns.inbox import SendRequest
from store.turns.settle import settle

WORKER = "a0000000-0000-0000-0000-000000000001"
CLAIMANT = ClaimRequest(worker=WORKER, agents={"assistant": "1"}, max_messages={"assistant": 50})
APPROVE = Decision(kind=DecisionKind.APPROVE)
CALLS = [ToolCall("call-1", "refund", '{"amount": 5}'), ToolCall("call-2", "refund", '{"amount": 7}')]
ASKED = Step(index=0, kind="model", state="finished", result={"tool_calls": [call.to_json() for call in CALLS]})
NOT_BEGUN = [
    Step(index=1 + place, kind="tool", call_id=call.id, name=call.name, state="waiting")
    for place, call in enumerate(CALLS)
]


@pytest.fixture
def database(any_database: Database) -> Database:
    any_database.run(
        workers.register, worker=WORKER, host="here", pid=1, serves={"assistant": "1"}, lease_duration_seconds=600
    )
    return any_database


def send(database: Database, **options: Any) -> str:
    message = Message(role="user", content="refund me")
    request = SendRequest(
        turn_id=new_id(), tenant="default", thread_id="t", message=message, agent="assistant", **options
    )
    return database.run(inbox.accept, request=request).turn_id


def claim(database: Database) -> claims.ClaimOutcome:
    return database.run(partial(claims.claim, tenant="default", thread_id="t", claimant=CLAIMANT))


def wait(database: Database, calls: int = 2, expire_seconds: float = 3600, **options: Any) -> ClaimedTurn:
    """A turn that waits for the approval of so many calls."""
    send(database, **options)
    claimed = claim(database)
    assert isinstance(claimed, ClaimedTurn)
    database.run(journal.record, lease=claimed.lease, turn_id=claimed.id, entries=[ASKED, *NOT_BEGUN])
    database.run(settle, lease=claimed.lease, turn_id=claimed.id, ending=waiting(calls, expire_seconds), release=False)
    return claimed


def waiting(calls: int = 2, expire_seconds: float = 3600) -> Waiting:
    return Waiting(
        pending=tuple(
            PendingRequest(
                call_id=call.id,
                step_index=1 + place,
                kind=PendingKind.APPROVAL,
                name=call.name,
                arguments=call.arguments,
                expire_seconds=expire_seconds,
            )
            for place, call in enumerate(CALLS[:calls])
        )
    )


def decide(database: Database, turn_id: str, call_id: str = "call-1", **values: Any) -> decisions.DecisionOutcome:
    values = {"decision": APPROVE, "by": "ada"} | values
    return database.run(partial(decisions.decide, turn_id=turn_id, call_id=call_id, **values))


def turn_row(database: Database, turn_id: str) -> Any:
    return database.run(lambda c: c.execute(select(turns).where(turns.c.id == turn_id)).one())


def test_a_waiting_turn_holds_nothing_and_the_last_decision_queues_it(database: Database) -> None:
    turn = wait(database)
    assert database.run(lambda c: c.execute(select(threads.c.lease_owner)).scalar_one()) is None
    assert isinstance(claim(database), NothingDue)
    record = database.run(records.read, turn_id=turn.id)
    assert record.state is TurnState.WAITING
    assert [(call.call_id, call.arguments) for call in record.awaiting] == [(c.id, c.arguments) for c in CALLS]

    # In any order; and the turn goes on with the last one only.
    assert decide(database, turn.id, "call-2").wake_up is None
    assert [call.call_id for call in database.run(records.read, turn_id=turn.id).awaiting] == ["call-1"]
    outcome = decide(database, turn.id, "call-1", decision=Decision(kind=DecisionKind.DENY, reason="too much"))
    assert outcome.wake_up is not None
    assert outcome.wake_up.turn_id == turn.id
    row = turn_row(database, turn.id)
    assert (row.state, row.wait_expires_at) == ("queued", None)
    assert row.notified_at is not None

    resumed = claim(database)
    assert isinstance(resumed, ClaimedTurn)
    assert {index: step.state for index, step in resumed.steps.items()} == {0: "finished", 1: "waiting", 2: "waiting"}
    kinds = {call.call_id: call.decision and (call.decision.kind, call.decision.reason) for call in resumed.pending}
    assert kinds == {"call-1": (DecisionKind.DENY, "too much"), "call-2": (DecisionKind.APPROVE, None)}
    attempts = database.run(read_attempts, turn_id=turn.id)
    assert [attempt.outcome for attempt in attempts][:1] == ["waited"]
    database.run(settle, lease=resumed.lease, turn_id=turn.id, ending=Completed(), release=True)
    assert turn_row(database, turn.id).state == "completed"


def test_who_decided_and_when_is_kept(database: Database) -> None:
    turn = wait(database, calls=1)
    decide(database, turn.id)
    call = database.run(lambda c: c.execute(select(pending_calls)).one())
    assert (call.decision, call.decided_by) == ("approve", "ada")
    assert call.decided_at >= call.requested_at
    row = database.run(lambda c: c.execute(select(audit).where(audit.c.action == "turn.decided")).one())
    assert row.details["decision"] == "approve"
    # As a hash: the audit outlives whoever is erased.
    assert row.details["by"].startswith("sha256:")


def test_a_decision_counts_once(database: Database) -> None:
    turn = wait(database)
    assert decide(database, turn.id).is_new
    assert not decide(database, turn.id).is_new
    with pytest.raises(AlreadyDecided, match="decided before by 'ada': approve"):
        decide(database, turn.id, decision=Decision(kind=DecisionKind.DENY))
    with pytest.raises(AlreadyDecided):
        decide(database, turn.id, by="eve")
    with pytest.raises(PendingCallNotFound):
        decide(database, turn.id, "call-3")
    with pytest.raises(PendingCallNotFound):
        decide(database, turn.id, "call-2", tenant="other")
    with pytest.raises(PendingCallNotFound):
        decide(database, "no id")
    with pytest.raises(InvalidInput, match="does not fit"):
        decide(database, turn.id, "call-2", decision=Decision(kind=DecisionKind.ANSWER, value=1))
    with pytest.raises(InvalidInput, match="decision: is True; pass a value of the type Decision"):
        decide(database, turn.id, "call-2", decision=True)
    with pytest.raises(DigestMismatch):
        decide(database, turn.id, "call-2", digest="0" * 64)
    digest = database.run(records.read, turn_id=turn.id).awaiting[0].arguments_digest
    assert decide(database, turn.id, "call-2", digest=digest).wake_up is not None
    # The last decision again: the turn is queued already.
    again = decide(database, turn.id, "call-2")
    assert (again.is_new, again.wake_up) == (False, None)


def test_two_decisions_at_once_queue_the_turn_once(database: Database) -> None:
    turn = wait(database)
    with ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(lambda call: decide(database, turn.id, call.id), CALLS))
    assert [outcome.wake_up is not None for outcome in outcomes].count(True) == 1
    assert turn_row(database, turn.id).state == "queued"


def test_nobody_decides_in_time(database: Database) -> None:
    turn = wait(database, expire_seconds=-1)
    with pytest.raises(AlreadyDecided, match="too late"):
        decide(database, turn.id)
    (wake_up,) = database.run(sweep.pick_wake_ups, grace_seconds=30, limit=10)
    assert wake_up.turn_id == turn.id
    refused = claim(database)
    assert isinstance(refused, RefusedTurn)
    assert isinstance(refused.ending, Failed)
    assert refused.ending.error.kind == "waiting_expired"
    # Whole blocks: each call of the reply has its tool message.
    assert [message.role for message in refused.ending.messages] == ["assistant", "tool", "tool"]
    database.run(settle, lease=refused.lease, turn_id=turn.id, ending=refused.ending, release=True)
    assert turn_row(database, turn.id).state == "failed"
    decided = database.run(lambda c: c.execute(select(pending_calls.c.decision)).scalars().all())
    assert decided == ["closed", "closed"]
    with pytest.raises(AlreadyDecided, match="its turn has ended"):
        decide(database, turn.id)


def test_once_one_of_its_calls_has_expired_a_turn_takes_no_decision_on_another(database: Database) -> None:
    """It is only to be ended: who decides must not believe that it counts."""
    turn = wait(database)
    of_first = pending_calls.c.call_id == "call-1"
    database.run(lambda c: c.execute(update(pending_calls).where(of_first).values(expires_at=clock(plus_seconds=-1))))
    database.run(lambda c: c.execute(update(turns).values(wait_expires_at=clock(plus_seconds=-1))))

    with pytest.raises(AlreadyDecided, match="too late"):
        decide(database, turn.id, "call-2")


def test_a_deadline_ends_a_wait_as_a_deadline(database: Database) -> None:
    turn = wait(database, deadline=None)
    past = update(turns).values(deadline=clock(plus_seconds=-1), wait_expires_at=clock(plus_seconds=-1))
    database.run(lambda c: c.execute(past))
    with pytest.raises(AlreadyDecided):
        decide(database, turn.id)
    refused = claim(database)
    assert isinstance(refused, RefusedTurn)
    assert isinstance(refused.ending, Failed)
    assert refused.ending.error.kind == "deadline"


def test_a_waiting_turn_is_cancelled_and_lets_the_queue_go_on(database: Database) -> None:
    turn = wait(database)
    second = send(database)
    assert isinstance(claim(database), NothingDue)
    assert database.run(cancel.request_cancel, turn_id=turn.id, by="ada") is TurnState.WAITING
    with pytest.raises(AlreadyDecided):
        decide(database, turn.id)
    assert [each.turn_id for each in database.run(sweep.pick_wake_ups, grace_seconds=30, limit=10)] == [turn.id]
    refused = claim(database)
    assert isinstance(refused, RefusedTurn)
    assert isinstance(refused.ending, Cancelled)
    outcome = database.run(settle, lease=refused.lease, turn_id=turn.id, ending=refused.ending, release=False)
    assert (outcome.next_turn_id, outcome.keeps_lease) == (second, True)
    assert database.run(lambda c: c.execute(select(pending_calls.c.decision)).scalars().all()) == ["closed", "closed"]


def test_a_worker_that_lost_its_lease_leaves_no_wait(database: Database) -> None:
    send(database)
    claimed = claim(database)
    assert isinstance(claimed, ClaimedTurn)
    database.run(lambda c: c.execute(update(threads).values(fencing_token=99)))
    with pytest.raises(LeaseLost):
        database.run(settle, lease=claimed.lease, turn_id=claimed.id, ending=waiting(), release=False)
    assert database.run(lambda c: c.execute(select(pending_calls)).all()) == []


def test_to_settle_a_wait_twice_is_refused(database: Database) -> None:
    turn = wait(database)
    with pytest.raises(LeaseLost):
        database.run(settle, lease=turn.lease, turn_id=turn.id, ending=waiting(), release=False)
    assert len(database.run(lambda c: c.execute(select(pending_calls)).all())) == 2


def test_a_turn_sent_behind_a_wait_needs_no_wake_up(database: Database) -> None:
    turn = wait(database)
    second = send(database)
    assert turn_row(database, second).notified_at is None
    assert database.run(sweep.pick_wake_ups, grace_seconds=0, limit=10) == []
    for call in CALLS:
        decide(database, turn.id, call.id)
    resumed = claim(database)
    assert isinstance(resumed, ClaimedTurn)
    assert resumed.id == turn.id


def test_a_call_that_was_left_open_is_taken_up_by_a_turn_of_its_own(database: Database) -> None:
    first = send(database)
    claimed = claim(database)
    assert isinstance(claimed, ClaimedTurn)
    not_decided = Step(
        index=1, kind="tool", call_id="call-1", name="refund", state="failed", result={"content": '{"error": {}}'}
    )
    left_open = waiting(1).pending
    record = partial(journal.record, lease=claimed.lease, turn_id=first, entries=[ASKED, not_decided])
    database.run(record, pending=left_open)
    answer = Completed(messages=(Message(role="assistant", content="I asked ada"),))
    database.run(settle, lease=claimed.lease, turn_id=first, ending=answer, release=True)
    queued = send(database)

    outcome = decide(database, first)
    assert outcome.wake_up is not None
    assert outcome.wake_up.turn_id != first
    assert not decide(database, first).is_new
    second = claim(database)
    assert isinstance(second, ClaimedTurn)
    assert second.id == queued
    database.run(settle, lease=second.lease, turn_id=queued, ending=Completed(), release=True)
    taken_up = claim(database)
    assert isinstance(taken_up, ClaimedTurn)
    assert taken_up.id == outcome.wake_up.turn_id
    assert (taken_up.attempt, {index: step.state for index, step in taken_up.steps.items()}) == (
        1,
        {0: "finished", 1: "waiting"},
    )
    assert [(each.step_index, each.decision) for each in taken_up.pending] == [(1, APPROVE)]
    with pytest.raises(AlreadyDecided):
        decide(database, first, decision=Decision(kind=DecisionKind.DENY))


def go_on_without(database: Database) -> ClaimedTurn:
    """A turn that runs on without the first call, which is open."""
    turn_id = send(database)
    claimed = claim(database)
    assert isinstance(claimed, ClaimedTurn)
    not_decided = Step(
        index=1, kind="tool", call_id="call-1", name="refund", state="failed", result={"content": '{"error": {}}'}
    )
    left_open = waiting(1, expire_seconds=60).pending
    record = partial(journal.record, lease=claimed.lease, turn_id=turn_id, entries=[ASKED, not_decided])
    database.run(record, pending=left_open)
    return claimed


def test_a_turn_waits_for_no_call_that_it_went_on_without(database: Database) -> None:
    turn = go_on_without(database)
    other = replace(waiting(2, expire_seconds=3600), pending=waiting(2, expire_seconds=3600).pending[1:])
    database.run(settle, lease=turn.lease, turn_id=turn.id, ending=other, release=False)
    row = turn_row(database, turn.id)
    assert row.wait_expires_at - row.created_at > timedelta(minutes=30)

    taken_up = decide(database, turn.id, "call-1").wake_up
    assert taken_up is not None
    assert taken_up.turn_id != turn.id
    assert turn_row(database, turn.id).state == "waiting"
    goes_on = decide(database, turn.id, "call-2").wake_up

    assert goes_on is not None
    assert goes_on.turn_id == turn.id
    resumed = claim(database)
    assert isinstance(resumed, ClaimedTurn)
    assert resumed.id == turn.id


def test_a_turn_goes_on_though_a_call_is_open_that_it_went_on_without(database: Database) -> None:
    turn = go_on_without(database)
    other = replace(waiting(2), pending=waiting(2).pending[1:])
    database.run(settle, lease=turn.lease, turn_id=turn.id, ending=other, release=False)

    goes_on = decide(database, turn.id, "call-2").wake_up

    assert goes_on is not None
    assert turn_row(database, turn.id).state == "queued"


@pytest.mark.parametrize("ending", [Cancelled(), Completed()])
def test_what_a_cancelled_turn_left_open_is_closed(database: Database, ending: Cancelled | Completed) -> None:
    turn = go_on_without(database)
    database.run(cancel.request_cancel, turn_id=turn.id, by="ada")

    database.run(settle, lease=turn.lease, turn_id=turn.id, ending=ending, release=True)

    assert database.run(lambda c: c.execute(select(pending_calls.c.decision)).scalars().all()) == ["closed"]
    with pytest.raises(AlreadyDecided, match="too late"):
        decide(database, turn.id)
    assert isinstance(claim(database), NothingDue)


def test_a_call_that_was_left_open_expires(database: Database) -> None:
    first = send(database)
    claimed = claim(database)
    assert isinstance(claimed, ClaimedTurn)
    left_open = waiting(1, expire_seconds=-1).pending
    database.run(partial(journal.record, lease=claimed.lease, turn_id=first, entries=[ASKED], pending=left_open))
    database.run(settle, lease=claimed.lease, turn_id=first, ending=Completed(), release=True)
    with pytest.raises(AlreadyDecided, match="too late"):
        decide(database, first)
