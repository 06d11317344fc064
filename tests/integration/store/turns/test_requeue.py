"""Asking again for a turn that ended without an answer: the same on PostgreSQL and SQLite."""

import pytest

from conversation.attachment import Attachment
from conversation.errors import Fault, TurnNotFound, TurnNotRequeueable
from conversation.ids import new_id
from conversation.message import Message, ToolCall
from conversation.step import Step
from conversation.turn import Failed, TurnError, TurnState
from store.database.engine import Database
from store.files.blob_rows import confirm, reserve
from store.turns import cancel, records
from store.turns.requeue import RequeueOutcome, requeue
from tests.integration.store.turns.test_lifecycle import Store, answer

AWAY = Failed(error=TurnError("model_error", "refused: no such key", fault=Fault.OPERATOR))


@pytest.fixture
def store(any_database: Database) -> Store:
    store = Store(any_database)
    store.worker()  # its agent may be asked for
    return store


def again(store: Store, turn_id: str, new_turn_id: str = "") -> RequeueOutcome:
    ids = {"new_turn_id": new_turn_id or new_id(), "new_message_id": new_id()}
    return store.database.run(requeue, **ids, turn_id=turn_id)


def fail(store: Store, content: str = "hello", thread: str = "t", ending: Failed = AWAY) -> str:
    accepted = store.send(content, thread)
    store.settle(store.claim_turn(store.worker(), thread), ending, release=True)
    return accepted.turn_id


def test_a_turn_that_said_nothing_goes_on_itself_from_its_journal(store: Store) -> None:
    accepted = store.send("hello")
    claimed = store.claim_turn(store.worker())
    asked = Step(index=0, kind="model", state="finished", result={"content": "I look"})
    store.record(claimed, asked)
    store.settle(claimed, AWAY)

    found = again(store, accepted.turn_id)

    assert found == RequeueOutcome(accepted.turn_id, "default", "t", is_new=False)
    record = store.database.run(records.read, turn_id=accepted.turn_id)
    assert (record.state, record.error, record.finished_at) == (TurnState.QUEUED, None, None)
    resumed = store.claim_turn(store.worker())
    assert resumed.id == accepted.turn_id
    assert resumed.steps[0].result == {"content": "I look"}
    store.settle(resumed, answer("hi"))
    assert store.history() == [(1, "user", "hello"), (2, "assistant", "hi")]


def test_where_the_thread_has_gone_on_the_question_is_asked_anew_at_its_end(store: Store) -> None:
    failed = fail(store)
    store.send("are you there?")
    store.settle(store.claim_turn(store.worker()), answer("yes"))

    found = again(store, failed)

    assert found.is_new
    claimed = store.claim_turn(store.worker())
    assert claimed.id == found.turn_id
    store.settle(claimed, answer("hi"))
    assert [text for _, _, text in store.history()] == ["hello", "are you there?", "yes", "hello", "hi"]
    assert store.state(failed) is TurnState.FAILED
    record = store.database.run(records.read, turn_id=found.turn_id)
    assert record.requeued_from == failed


def test_what_a_failed_turn_had_said_is_not_said_again(store: Store) -> None:
    call = ToolCall("c1", "look", "{}")
    said = (Message(role="assistant", tool_calls=(call,)), Message(role="tool", tool_call_id="c1", content="found"))
    failed = fail(store, ending=Failed(error=AWAY.error, messages=said))

    found = again(store, failed)

    assert found.is_new
    window = store.claim_turn(store.worker()).window
    assert [m.role for m in window] == ["user", "assistant", "tool", "user"]


def test_a_turn_that_waits_behind_it_keeps_its_place_before_the_new_one(store: Store) -> None:
    failed = fail(store)
    waiting = store.send("behind")

    found = again(store, failed)

    claimed = store.claim_turn(store.worker())
    assert claimed.id == waiting.turn_id
    assert store.settle(claimed, answer("re behind")).next_turn_id == found.turn_id


def test_a_turn_that_was_cancelled_before_it_began_still_has_its_question(store: Store) -> None:
    accepted = store.send("hello")
    store.database.run(cancel.request_cancel, turn_id=accepted.turn_id)

    found = again(store, accepted.turn_id)

    assert not found.is_new
    claimed = store.claim_turn(store.worker())
    assert [m.content for m in claimed.window] == ["hello"]


def test_the_question_keeps_its_files(store: Store) -> None:
    file = Attachment(filename="a.txt", content=b"text", media_type="text/plain")
    announced = store.database.run(reserve, tenant="default", files=[file])
    store.database.run(confirm, tenant="default", reservations=announced)
    store.send("look", message=Message(role="user", content="look", attachments=[file]))
    failed = store.claim_turn(store.worker())
    store.settle(failed, AWAY, release=True)
    store.send("go on")
    store.settle(store.claim_turn(store.worker()), answer("ok"))

    again(store, failed.id)

    question = store.claim_turn(store.worker()).window[-1]
    assert [(f.filename, f.sha256) for f in question.attachments] == [("a.txt", file.sha256)]


def test_counts_that_ended_a_turn_begin_anew(store: Store) -> None:
    accepted = store.send("hello")
    for _ in range(2):
        dying = store.worker()
        store.claim_turn(dying)
        store.kill(dying)
    dying = store.worker(runs_quarantine=True)
    store.claim_turn(dying)
    store.kill(dying)
    refused = store.claim_refused(store.worker())
    store.settle(refused, refused.ending)

    again(store, accepted.turn_id)

    record = store.database.run(records.read, turn_id=accepted.turn_id)
    assert (record.crashes, record.retries) == (0, 0)
    store.claim_turn(store.worker())


def test_asking_twice_changes_nothing(store: Store) -> None:
    """As after a commit whose outcome was unknown: the same ids again."""
    revived = fail(store, thread="one")
    assert again(store, revived) == again(store, revived)

    moved = fail(store)
    store.send("behind")
    new_turn_id = new_id()
    assert again(store, moved, new_turn_id) == again(store, moved, new_turn_id)

    assert store.claim_turn(store.worker()).id != new_turn_id
    assert store.state(new_turn_id) is TurnState.QUEUED


def test_only_what_failed_or_was_cancelled_is_asked_again(store: Store) -> None:
    waiting = store.send("hello")

    with pytest.raises(TurnNotRequeueable, match="is queued"):
        again(store, waiting.turn_id)

    store.settle(store.claim_turn(store.worker()), answer("hi"))
    with pytest.raises(TurnNotRequeueable, match="is completed"):
        again(store, waiting.turn_id)


def test_a_turn_that_asked_nothing_of_an_empty_thread_is_found(store: Store) -> None:
    asked = store.send(None)
    claimed = store.claim_turn(store.worker())

    with pytest.raises(TurnNotRequeueable, match="is running"):
        again(store, asked.turn_id)
    store.settle(claimed, AWAY, release=True)

    assert again(store, asked.turn_id) == RequeueOutcome(asked.turn_id, "default", "t", is_new=False)


@pytest.mark.parametrize("turn_id", ["018f0000-0000-7000-8000-000000000000", "no id of ours"])
def test_a_turn_that_is_not_stored_is_told(store: Store, turn_id: str) -> None:
    with pytest.raises(TurnNotFound, match="turn_id"):
        again(store, turn_id)
