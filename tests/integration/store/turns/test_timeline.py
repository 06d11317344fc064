"""The timeline of a turn, and why one waits: on each road, from what the store's own verbs wrote."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event, select

from conversation.errors import Fault, InvalidInput, TurnNotFound
from conversation.ids import new_id
from conversation.message import Message, ToolCall, Usage
from conversation.step import Step
from conversation.transcript import reply_id
from conversation.turn import Completed, Failed, RetryLater, TurnError
from store.database.engine import Database
from store.tables import steps
from store.turns import cancel
from store.turns.requeue import requeue
from store.turns.timeline import Timeline, read_timeline
from store.turns.unanswered_turns import list_unanswered
from store.turns.waits import WaitReason
from tests.integration.store.turns.test_lifecycle import Store, answer

SECRET = "my parcel FH-1"
AWAY = TurnError("model_error", "overloaded", retryable=True, fault=Fault.PROVIDER)


@pytest.fixture
def store(any_database: Database) -> Store:
    store = Store(any_database)
    store.worker()
    return store


def timeline(store: Store, turn_id: str, **options: Any) -> Timeline:
    return store.database.run(read_timeline, turn_id, **options)


def reply_step(index: int, *calls: ToolCall, seconds: float = 0.0) -> Step:
    result = {"content": "I look", "tool_calls": [call.to_json() for call in calls]}
    step = Step(index=index, kind="model", name="m", state="finished", result=result, usage=Usage(30, 4), cost=0.5)
    return replace(step, seconds=seconds)


def run_with_a_retry(store: Store) -> str:
    """A turn whose first attempt found the model away, and whose second called a tool and answered."""
    sent = store.send(SECRET)
    claimed = store.claim_turn(store.worker())
    store.settle(claimed, RetryLater(after=timedelta(0), error=AWAY))
    claimed = store.claim_turn(store.worker())
    call = ToolCall("c", "look", '{"number": "FH-1"}')
    intent = Step(index=1, kind="tool", call_id="c", name="look", state="started")
    store.record(claimed, reply_step(0, call, seconds=7), intent)
    found = Step(
        index=1, kind="tool", call_id="c", name="look", state="finished", result={"content": "at sea"}, seconds=2
    )
    store.record(claimed, found)
    said = Message(id=reply_id(claimed.id, 2), role="assistant", content="It is at sea.")
    store.settle(claimed, Completed(messages=(said,), steps=(reply_step(2, seconds=3),), usage=Usage(60, 8)))
    return sent.turn_id


@contextmanager
def counted_statements(database: Database) -> Iterator[list[str]]:
    statements: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if not statement.startswith("BEGIN"):
            statements.append(statement)

    event.listen(database.engine, "before_cursor_execute", note)
    yield statements
    event.remove(database.engine, "before_cursor_execute", note)


def test_it_has_attempts_waits_calls_and_the_end_in_order_out_of_three_statements(store: Store) -> None:
    turn_id = run_with_a_retry(store)

    with counted_statements(store.database) as statements:
        entries = timeline(store, turn_id).entries

    # A call began before its attempt here: what it took is said, and nobody waited for it.
    kinds = [entry.kind.value for entry in entries]
    assert sorted(kinds) == sorted(
        ["sent", "waited", "attempt", "waited", "attempt", "model", "tool", "model", "ended"]
    )
    assert kinds[-1] == "ended"
    first, second = (entry for entry in entries if entry.kind == "attempt")
    assert (first.name, first.outcome, first.worker) == ("1", "retried", "here:1")
    assert first.error is not None
    assert (first.error.kind, first.error.message, first.error.fault) == ("model_error", "overloaded", Fault.PROVIDER)
    assert (second.name, second.outcome) == ("2", "completed")
    took = {entry.kind.value + entry.name: entry.seconds for entry in entries if entry.kind in ("model", "tool")}
    assert took["toollook"] == pytest.approx(2, abs=1)
    assert {round(entry.seconds or 0) for entry in entries if entry.kind == "model"} == {7, 3}
    assert [entry.usage for entry in entries if entry.kind == "model"] == [Usage(30, 4)] * 2
    assert len(statements) == 3, statements
    assert_text_is_read_only_where_it_is_asked_for(store, turn_id)


def assert_text_is_read_only_where_it_is_asked_for(store: Store, turn_id: str) -> None:
    assert "FH-1" not in repr(timeline(store, turn_id))
    assert "at sea" not in repr(timeline(store, turn_id))
    texts = {entry.kind.value: entry.text for entry in timeline(store, turn_id, with_text=True).entries if entry.text}
    assert texts["sent"] == SECRET
    assert texts["tool"] == "at sea"
    # Of the model, the last words: they stand in the message alone.
    assert texts["model"] == "It is at sea."


def test_what_a_message_says_is_not_stored_with_its_step_again(store: Store) -> None:
    turn_id = run_with_a_retry(store)

    journal = select(steps.c["index"], steps.c.result, steps.c.usage).where(steps.c.turn_id == turn_id)
    stored = {index: (result, usage) for index, result, usage in store.database.run(lambda c: c.execute(journal).all())}
    spent = {"prompt_tokens": 30, "completion_tokens": 4}
    # The call of a tool was journalled before that began: its turn could have gone on from there.
    assert stored[0][0]["content"] == "I look"
    assert stored[2] == ({}, spent)


def test_a_turn_that_goes_on_after_a_failure_finds_its_whole_reply(store: Store) -> None:
    """It failed with nothing said, so that what its model said stands in the journal alone."""
    turn_id = store.send(SECRET).turn_id
    claimed = store.claim_turn(store.worker())
    store.settle(claimed, Failed(steps=(reply_step(0),), error=AWAY))

    store.database.run(requeue, turn_id, new_turn_id=new_id(), new_message_id=new_id())

    assert store.claim_turn(store.worker()).steps[0].result == reply_step(0).result


def test_who_asked_first_for_a_cancel_stays_written_down(store: Store) -> None:
    turn_id = store.send(SECRET).turn_id
    # A message that waits in the inbox is text, too.
    assert [entry.text for entry in timeline(store, turn_id, with_text=True).entries] == [SECRET, None]

    store.database.run(cancel.request_cancel, turn_id, by="ann")
    store.database.run(cancel.request_cancel, turn_id, by="bob")

    seen = timeline(store, turn_id)
    assert seen.turn.record.cancel_requested_by == "ann"
    assert [(entry.kind.value, entry.name) for entry in seen.entries if entry.kind == "cancel"] == [("cancel", "ann")]
    store.database.run(requeue, turn_id, new_turn_id=new_id(), new_message_id=new_id())
    assert timeline(store, turn_id).turn.record.cancel_requested_by is None


@pytest.mark.parametrize("by", ["", "  ", "two\nlines", "esc\x1b[31m", "n" * 201, 7, "\ud800"])
def test_who_asks_for_a_cancel_is_a_name_in_one_line(by: Any) -> None:
    with pytest.raises(InvalidInput, match=r"^by: "):
        cancel.check_requester(by)


def test_a_turn_that_is_not_stored_has_none(store: Store) -> None:
    for turn_id in ("nonsense", new_id()):
        with pytest.raises(TurnNotFound):
            timeline(store, turn_id)


def reasons(store: Store, *turn_ids: str, **options: Any) -> list[str | None]:
    waits = [timeline(store, turn_id, **options).wait for turn_id in turn_ids]
    return [None if wait is None else wait.reason.value for wait in waits]


def test_each_reason_to_wait_is_told(store: Store) -> None:
    claimant = store.worker()
    later = store.send("hello", thread="later", not_before=datetime.now(UTC) + timedelta(hours=1)).turn_id
    gone = store.send("hello", thread="gone", agent="gone", allow_unknown_agent=True).turn_id
    due = store.send("hello", thread="due").turn_id
    running = store.send("hello").turn_id
    behind = store.send("and more").turn_id
    claimed = store.claim_turn(claimant)

    assert reasons(store, later, gone, due, running, behind) == ["later", "unserved", "worker", None, "behind"]
    assert reasons(store, due, tenant_max_running=1) == ["tenant_limit"]
    wait = timeline(store, behind).wait
    assert wait is not None
    assert wait.turn_id == running
    store.kill(claimant)
    assert reasons(store, running) == ["lost"]
    store.settle(claimed, RetryLater(after=timedelta(hours=1), error=AWAY))
    assert reasons(store, running, behind) == ["retry", "behind"]
    assert set(WaitReason) - {WaitReason.LOCAL} >= {"later", "unserved", "worker", "behind", "tenant_limit", "lost"}


def test_a_thread_says_which_of_its_turns_have_not_answered(store: Store) -> None:
    first = store.send("hello").turn_id
    claimed = store.claim_turn(store.worker())
    second = store.send("and now?").turn_id

    def unanswered() -> list[tuple[str, str]]:
        listed = store.database.run(list_unanswered, "default", "t")
        return [(each.turn.record.id, each.turn.record.state.value) for each in listed]

    assert unanswered() == [(first, "running"), (second, "queued")]
    store.settle(claimed, Failed(error=AWAY), release=True)
    assert unanswered() == [(second, "queued")]
    store.settle(store.claim_turn(store.worker()), Failed(error=AWAY), release=True)
    assert unanswered() == [(second, "failed")]
    third = store.send("again").turn_id
    store.settle(store.claim_turn(store.worker()), answer("hi"))
    assert third
    assert unanswered() == []
    assert store.database.run(list_unanswered, "default", "none") == []
