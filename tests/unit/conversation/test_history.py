"""Well-formed histories: kept so message by message, and made so out of anything."""

import pytest
from hypothesis import given, settings

from conversation.errors import InvalidInput
from conversation.history import check_next, open_calls, repair, repair_messages
from conversation.message import Message, ToolCall
from conversation.thread import Thread
from tests.unit.conversation.strategies import heaps


def asks(*ids: str) -> Message:
    return Message(role="assistant", tool_calls=tuple(ToolCall(id_, "add", "{}") for id_ in ids))


def answers(id_: str, content: str = "1") -> Message:
    return Message(role="tool", tool_call_id=id_, name="add", content=content)


def user(content: str = "hi") -> Message:
    return Message(role="user", content=content)


@settings(deadline=None, max_examples=300)
@given(heaps)
def test_any_heap_of_messages_becomes_well_formed(heap: list[Message]) -> None:
    history = repair_messages(heap)

    thread = Thread(messages=history)
    assert open_calls(thread.messages) == {}
    spoken = [message for message in heap if message.role != "tool"]
    assert [message for message in history if message.role != "tool"] == spoken


@settings(deadline=None, max_examples=300)
@given(heaps)
def test_what_is_well_formed_is_left_as_it_is(heap: list[Message]) -> None:
    history = repair_messages(heap)

    again = repair(history)

    assert (again.messages, again.changes) == (history, ())


def test_a_result_behind_another_message_is_moved_to_its_call() -> None:
    call, wait, result = asks("a", "b"), user("wait"), answers("a", "late")

    outcome = repair([call, answers("b"), wait, result])

    assert [m.content for m in outcome.messages] == ["", "1", "late", "wait"]
    assert outcome.changes == ("the result of call 'a' was moved directly behind its call",)


def test_a_result_without_its_call_and_a_second_one_are_left_out() -> None:
    outcome = repair([answers("x"), asks("a"), answers("a", "1"), answers("a", "2"), user()])

    assert [m.content for m in outcome.messages] == ["", "1", "hi"]
    assert outcome.changes == (
        "a result of call 'x' was left out: no open call has that id",
        "a result of call 'a' was left out: no open call has that id",
    )


def test_a_call_without_a_result_is_closed_with_its_own_time() -> None:
    call = asks("a")

    outcome = repair([call, user()])

    assert [m.role for m in outcome.messages] == ["assistant", "tool", "user"]
    assert "no result of this call is known" in outcome.messages[1].content
    assert outcome.messages[1].created_at == call.created_at
    assert outcome.changes == ("call 'a' of add had no result; one that says so was added",)


def test_each_result_needs_its_open_call() -> None:
    thread = Thread(messages=[user(), asks("a", "b")])

    for wrong in (answers("x"), user(), asks("c"), Message(role="system", content="note")):
        with pytest.raises(InvalidInput):
            thread.add_message(wrong)
    thread.add_message(answers("b"))
    thread.add_message(answers("a"))
    with pytest.raises(InvalidInput, match="tool_call_id: 'a' answers no open call"):
        thread.add_message(answers("a"))
    thread.add_message(user())


def test_what_waits_is_named() -> None:
    with pytest.raises(InvalidInput, match="role: a user message cannot stand before the results of 'a', 'b'"):
        check_next([asks("a", "b")], user())


def test_a_window_that_begins_with_results_can_be_gone_on_with() -> None:
    check_next([answers("a")], user())
