"""Accept, claim, record, settle: the same on PostgreSQL and SQLite."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, select, update

from conversation.errors import IdempotencyConflict, LeaseLost, TurnNotFound, UnknownAgent
from conversation.ids import new_id
from conversation.message import Message, ToolCall, Usage
from conversation.step import Step
from conversation.thread import Thread
from conversation.turn import (
    Cancelled,
    ClaimedTurn,
    Completed,
    Failed,
    HandOver,
    Lease,
    RefusedTurn,
    RetryLater,
    TurnError,
    TurnState,
)
from store import tables
from store.database.engine import Database
from store.threads import repository
from store.turns import cancel, claims, inbox, journal, records, workers
from store.turns import settle as turns
from store.turns.claims import ClaimOutcome, ClaimRequest, NothingDue, Quarantined
from store.turns.send_request import UNLIMITED, AcceptedTurn, SendLimits, SendRequest
from store.turns.settle import SettleOutcome


class Store:
    """The store's verbs, each in a transaction of its own, for tests to read well."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def worker(self, *, lease_duration_seconds: float = 60, **rules: Any) -> ClaimRequest:
        worker = new_id()
        self.database.run(
            workers.register,
            worker=worker,
            host="here",
            pid=1,
            serves={"assistant": "1"},
            lease_duration_seconds=lease_duration_seconds,
        )
        return ClaimRequest(worker=worker, agents={"assistant": "1"}, **rules)

    def send(
        self, content: str | None, thread: str = "t", limits: SendLimits = UNLIMITED, **options: Any
    ) -> AcceptedTurn:
        request = SendRequest(
            turn_id=new_id(),
            tenant="default",
            thread_id=thread,
            message=options.pop("message", None if content is None else Message(role="user", content=content)),
            agent=options.pop("agent", "assistant"),
            **options,
        )
        return self.database.run(inbox.accept, request, limits)

    def claim(self, claimant: ClaimRequest, thread: str = "t", held: Lease | None = None) -> ClaimOutcome:
        return self.database.run(claims.claim, tenant="default", thread_id=thread, claimant=claimant, held=held)

    def claim_turn(self, claimant: ClaimRequest, thread: str = "t", held: Lease | None = None) -> ClaimedTurn:
        claimed = self.claim(claimant, thread, held)
        assert isinstance(claimed, ClaimedTurn)
        return claimed

    def claim_refused(self, claimant: ClaimRequest, thread: str = "t") -> RefusedTurn:
        refused = self.claim(claimant, thread)
        assert isinstance(refused, RefusedTurn)
        return refused

    def refusal(self, claimant: ClaimRequest) -> TurnError:
        ending = self.claim_refused(claimant).ending
        assert isinstance(ending, Failed)
        return ending.error

    def settle(self, claimed: ClaimedTurn | RefusedTurn, ending: Any, *, release: bool = False) -> SettleOutcome:
        return self.database.run(turns.settle, lease=claimed.lease, turn_id=claimed.id, ending=ending, release=release)

    def record(self, claimed: ClaimedTurn, *entries: Step) -> None:
        self.database.run(journal.record, lease=claimed.lease, turn_id=claimed.id, entries=entries)

    def state(self, turn_id: str) -> TurnState:
        return self.database.run(records.read, turn_id=turn_id).state

    def history(self, thread: str = "t") -> list[tuple[int, str, str]]:
        with self.database.engine.begin() as connection:
            rows = connection.execute(
                select(tables.messages.c.seq, tables.messages.c.role, tables.messages.c.content)
                .join(tables.threads, tables.messages.c.thread_key == tables.threads.c.key)
                .where(tables.threads.c.id == thread)
                .order_by(tables.messages.c.seq)
            )
            return [tuple(row) for row in rows]

    def worker_ids(self) -> list[str]:
        with self.database.engine.begin() as connection:
            return list(connection.execute(select(tables.workers.c.id)).scalars())

    def pass_deadline(self, turn_id: str) -> None:
        with self.database.engine.begin() as connection:
            past = datetime(2020, 1, 1, tzinfo=UTC)
            connection.execute(update(tables.turns).where(tables.turns.c.id == turn_id).values(deadline=past))

    def kill(self, claimant: ClaimRequest) -> None:
        """The worker's process dies: its row is not kept up any more."""
        with self.database.engine.begin() as connection:
            past = datetime(2020, 1, 1, tzinfo=UTC)
            connection.execute(
                update(tables.workers).where(tables.workers.c.id == claimant.worker).values(lease_expires_at=past)
            )


@pytest.fixture
def store(any_database: Database) -> Store:
    return Store(any_database)


def round_of_tools(call_id: str) -> tuple[Step, Step]:
    """A reply that asks for a tool, and the intent of that call."""
    reply = {"content": "I look", "tool_calls": [ToolCall(call_id, "look", "{}").to_json()]}
    return (
        Step(index=0, kind="model", name="m", state="finished", result=reply, usage=Usage(3, 4), cost=0.5),
        Step(index=1, kind="tool", call_id=call_id, name="look", state="started"),
    )


def answer(text: str) -> Completed:
    return Completed(messages=(Message(role="assistant", content=text),), usage=Usage(3, 4), cost=0.5)


def test_a_message_becomes_history_with_its_claim_and_its_answer_stands_after_it(store: Store) -> None:
    claimant = store.worker()
    accepted = store.send("hello")
    assert store.history() == []

    claimed = store.claim_turn(claimant)

    assert claimed.id == accepted.turn_id
    assert [m.content for m in claimed.window] == ["hello"]
    assert store.history() == [(1, "user", "hello")]
    settled = store.settle(claimed, answer("hi"))
    assert settled == SettleOutcome(next_turn_id=None, keeps_lease=False)
    assert store.history() == [(1, "user", "hello"), (2, "assistant", "hi")]
    record = store.database.run(records.read, turn_id=accepted.turn_id)
    assert (record.state, record.attempt, record.usage, record.cost) == (TurnState.COMPLETED, 1, Usage(3, 4), 0.5)


def test_a_message_that_arrives_during_a_turn_waits_behind_its_answer(store: Store) -> None:
    claimant = store.worker()
    store.send("one")
    first = store.claim_turn(claimant)

    second = store.send("two")
    settled = store.settle(first, answer("re one"))

    assert settled == SettleOutcome(next_turn_id=second.turn_id, keeps_lease=True)
    claimed = store.claim_turn(claimant, held=first.lease)
    assert [m.content for m in claimed.window] == ["one", "re one", "two"]
    store.settle(claimed, answer("re two"))
    assert [content for _, _, content in store.history()] == ["one", "re one", "two", "re two"]


def test_a_message_that_waits_in_the_inbox_is_not_saved_beside_it(store: Store) -> None:
    """A copy of the thread has it as well: were it saved first, no claim could give it its place."""
    asked = Message(role="user", content="hello")
    worker = store.worker()
    sent = store.send("", message=asked)
    copy = Thread("t", messages=[asked, Message(role="user", content="mine")])

    store.database.run(repository.save, thread=copy, new=copy.new_messages)

    store.settle(store.claim_turn(worker), answer("hi"))
    assert store.state(sent.turn_id) == TurnState.COMPLETED
    assert [content for _, _, content in store.history()] == ["mine", "hello", "hi"]


def test_only_one_worker_holds_a_thread(store: Store) -> None:
    first, second = store.worker(), store.worker()
    store.send("one")
    store.send("two")
    claimed = store.claim_turn(first)

    assert store.claim(second) == NothingDue()
    assert store.claim(first) == NothingDue()

    store.settle(claimed, answer("done"), release=True)
    assert store.claim_turn(second).window[-1].content == "two"


def test_a_dead_workers_thread_is_taken_over_and_it_can_write_nothing_any_more(store: Store) -> None:
    first, second = store.worker(), store.worker()
    store.send("one")
    lost = store.claim_turn(first)
    store.kill(first)

    taken = store.claim_turn(second)

    assert (taken.id, taken.attempt) == (lost.id, 2)
    assert taken.lease.fencing_token == lost.lease.fencing_token + 1
    with pytest.raises(LeaseLost):
        store.record(lost, Step(index=0, kind="model", state="finished"))
    with pytest.raises(LeaseLost):
        store.settle(lost, answer("from the dead"))
    store.settle(taken, answer("once"))
    assert [content for _, _, content in store.history()] == ["one", "once"]


def test_a_commit_whose_outcome_was_unknown_is_run_again_without_effect(store: Store) -> None:
    claimant = store.worker()
    store.send("one")
    claimed = store.claim_turn(claimant)
    ending = answer("once")

    store.settle(claimed, ending)
    store.settle(claimed, ending)

    assert [content for _, _, content in store.history()] == ["one", "once"]


def test_finished_steps_come_back_with_the_next_claim_and_are_not_overwritten(store: Store) -> None:
    first, second = store.worker(), store.worker()
    store.send("one")
    claimed = store.claim_turn(first)
    call = ToolCall("c1", "refund", "{}")
    model = Step(index=0, kind="model", name="m", state="finished", result={"tool_calls": [call.to_json()]})
    tool = Step(index=1, kind="tool", call_id="c1", name="refund", state="started")
    store.record(claimed, model, tool)
    done = Step(index=1, kind="tool", call_id="c1", name="refund", state="finished", result={"content": "1"})
    store.record(claimed, done)
    store.record(
        claimed, Step(index=1, kind="tool", call_id="c1", name="refund", state="finished", result={"content": "2"})
    )
    store.kill(first)

    resumed = store.claim_turn(second)

    assert resumed.steps[0].result == {"tool_calls": [call.to_json()]}
    assert resumed.steps[1].result == {"content": "1"}
    assert [m.content for m in resumed.window] == ["one"]


def test_the_same_key_with_the_same_request_is_the_same_turn(store: Store) -> None:
    store.worker()
    first = store.send("pay", idempotency_key="k")

    again = store.send("pay", idempotency_key="k")

    assert again == AcceptedTurn(first.turn_id, "t", is_new=False)
    with pytest.raises(IdempotencyConflict, match="another request"):
        store.send("pay twice", idempotency_key="k")


def test_an_agent_that_no_worker_registered_is_refused_unless_allowed(store: Store) -> None:
    store.worker()

    with pytest.raises(UnknownAgent, match=r"'nobody' .known: assistant"):
        store.send("hello", agent="nobody")

    assert store.send("hello", agent="nobody", allow_unknown_agent=True).is_new


def test_a_worker_leaves_turns_of_agents_that_it_does_not_serve(store: Store) -> None:
    claimant = store.worker()
    store.send("hello", agent="other", allow_unknown_agent=True)

    assert store.claim(claimant) == NothingDue()


def test_a_turn_for_later_does_not_hold_up_the_thread(store: Store) -> None:
    claimant = store.worker()
    later = datetime.now(UTC) + timedelta(hours=1)
    store.send("tomorrow", not_before=later)
    store.send("now")

    claimed = store.claim_turn(claimant)

    assert claimed.window[-1].content == "now"
    assert store.settle(claimed, answer("ok")) == SettleOutcome()


def test_a_retrying_turn_blocks_its_thread_until_it_is_due(store: Store) -> None:
    claimant = store.worker()
    first = store.send("one")
    store.send("two")
    claimed = store.claim_turn(claimant)

    settled = store.settle(claimed, RetryLater(after=timedelta(hours=1), error=TurnError("model_error", "away", True)))

    assert settled == SettleOutcome()
    assert store.state(first.turn_id) is TurnState.QUEUED
    assert store.claim(claimant) == NothingDue()
    with store.database.engine.begin() as connection:
        connection.execute(update(tables.turns).values(retry_at=datetime(2020, 1, 1, tzinfo=UTC)))
    assert store.claim_turn(claimant).id == first.turn_id


def test_a_turn_that_is_handed_back_goes_on_elsewhere(store: Store) -> None:
    first, second = store.worker(), store.worker()
    accepted = store.send("one")

    store.settle(store.claim_turn(first), HandOver())

    taken = store.claim_turn(second)
    record = store.database.run(records.read, turn_id=accepted.turn_id)
    assert (taken.id, record.attempt, record.crashes) == (accepted.turn_id, 2, 0)


def test_a_failure_is_a_state_and_not_a_message(store: Store) -> None:
    claimant = store.worker()
    accepted = store.send("one")

    store.settle(store.claim_turn(claimant), Failed(error=TurnError("model_error", "refused: no")))

    record = store.database.run(records.read, turn_id=accepted.turn_id)
    assert record.state is TurnState.FAILED
    assert record.error == TurnError("model_error", "refused: no", retryable=False)
    assert [role for _, role, _ in store.history()] == ["user"]


def test_a_turn_is_cancelled_before_it_began(store: Store) -> None:
    claimant = store.worker()
    accepted = store.send("one")

    state = store.database.run(cancel.request_cancel, turn_id=accepted.turn_id)

    assert state is TurnState.CANCELLED
    assert store.claim(claimant) == NothingDue()


def test_a_reply_that_comes_after_a_cancel_request_is_kept_in_a_cancelled_turn(store: Store) -> None:
    claimant = store.worker()
    accepted = store.send("one")
    claimed = store.claim_turn(claimant)

    state = store.database.run(cancel.request_cancel, turn_id=accepted.turn_id)
    store.settle(claimed, answer("late"))

    assert state is TurnState.RUNNING
    assert store.state(accepted.turn_id) is TurnState.CANCELLED
    assert [content for _, _, content in store.history()] == ["one", "late"]


def test_a_turn_that_crashed_two_processes_runs_alone_and_then_no_more(store: Store) -> None:
    alone = store.worker(runs_quarantine=True)
    store.send("boom")
    for _ in range(2):
        victim = store.worker()
        store.claim_turn(victim)
        store.kill(victim)
    innocent = store.worker()

    found = store.claim(innocent)
    assert isinstance(found, Quarantined)
    assert store.claim(innocent) == found
    store.claim_turn(alone)
    store.kill(alone)

    assert store.refusal(innocent).kind == "poison"


def test_a_claim_of_a_quarantined_turn_leaves_its_callers_transaction_whole(store: Store) -> None:
    innocent, other = store.worker(), store.worker()
    store.send("boom")
    for _ in range(2):
        victim = store.worker()
        store.claim_turn(victim)
        store.kill(victim)

    def note_and_claim(connection: Connection) -> ClaimOutcome:
        workers.unregister(connection, other.worker)
        return claims.claim(connection, "default", "t", innocent)

    outcome = store.database.run(note_and_claim)

    assert isinstance(outcome, Quarantined)
    assert other.worker not in store.worker_ids()
    record = store.database.run(records.read, turn_id=outcome.turn_id)
    assert (record.state, record.attempt, record.crashes) == (TurnState.RUNNING, 2, 1)


@pytest.mark.parametrize("reason", ["cancelled", "deadline"])
def test_a_refused_turn_ends_with_what_its_journal_shows_was_said(store: Store, reason: str) -> None:
    claimant = store.worker()
    accepted = store.send("look", deadline=datetime.now(UTC) + timedelta(hours=1))
    claimed = store.claim_turn(claimant)
    store.record(claimed, *round_of_tools("c1"))
    store.settle(claimed, HandOver())
    if reason == "cancelled":
        store.database.run(cancel.request_cancel, turn_id=accepted.turn_id)
    else:
        store.pass_deadline(accepted.turn_id)

    refused = store.claim_refused(claimant)

    assert type(refused.ending) is (Cancelled if reason == "cancelled" else Failed)
    assert [m.role for m in refused.ending.messages] == ["assistant", "tool"]
    assert refused.ending.messages[0].content == "I look"
    assert (refused.ending.usage, refused.ending.cost) == (Usage(3, 4), 0.5)
    store.settle(refused, refused.ending)
    assert [content for _, _, content in store.history()][:2] == ["look", "I look"]


def test_a_turn_past_its_deadline_is_refused_at_its_claim(store: Store) -> None:
    claimant = store.worker()
    store.send("late", deadline=datetime.now(UTC) - timedelta(seconds=1))

    assert store.refusal(claimant).kind == "deadline"


def test_a_resumed_turn_sees_the_window_that_it_was_given_first(store: Store) -> None:
    first, second = store.worker(), store.worker()
    store.send("one")
    claimed = store.claim_turn(first)
    with store.database.engine.begin() as connection:
        key = claimed.lease.thread_key
        connection.execute(
            tables.messages.insert().values(
                thread_key=key,
                seq=2,
                id="lib",
                role="user",
                content="by a library",
                metadata={},
                created_at=datetime.now(UTC),
            )
        )
        connection.execute(update(tables.threads).values(last_seq=2))
    store.kill(first)

    resumed = store.claim_turn(second)

    assert [m.content for m in resumed.window] == ["one"]
    store.settle(resumed, answer("re one"))
    assert store.history() == [(1, "user", "one"), (2, "user", "by a library"), (3, "assistant", "re one")]


def test_ids_that_are_none_of_ours_are_not_found(store: Store) -> None:
    for wrong in ("", "abc", new_id(), "' or 1=1 --"):
        with pytest.raises(TurnNotFound):
            store.database.run(records.read, turn_id=wrong)


def test_cancelled_work_is_kept_as_it_was_closed(store: Store) -> None:
    claimant = store.worker()
    accepted = store.send("one")
    partial_text = Message(role="assistant", content="I was say", state="partial")

    store.settle(store.claim_turn(claimant), Cancelled(messages=(partial_text,)))

    result = store.database.run(records.read_result, turn_id=accepted.turn_id)
    assert result.state is TurnState.CANCELLED
    assert [(m.content, m.state) for m in result.messages] == [("I was say", "partial")]
