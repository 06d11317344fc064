"""Threads as working copies: what is new, what is cut, and the helpers that people use."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conversation.errors import InvalidInput, MessagesNotLoaded
from conversation.message import Message, ToolCall, Usage
from conversation.thread import Thread
from conversation.working_copy import LoadedState
from tests.unit.conversation.strategies import messages, metadata, moments, names, text


def user(content: str = "hi", seq: int | None = None) -> Message:
    return Message(role="user", content=content, seq=seq)


def answer(model: str, usage: Usage, *tools: str) -> Message:
    calls = tuple(ToolCall(f"{name}-{index}", name, "{}") for index, name in enumerate(tools))
    return Message(role="assistant", content="ok", source={"model": model}, usage=usage, tool_calls=calls)


def loaded(*contents: str) -> Thread:
    """A copy as a store gives it."""
    thread = Thread("t", messages=[user(content, seq) for seq, content in enumerate(contents, start=1)])
    ids = tuple(message.id for message in thread.messages)
    thread.loaded = LoadedState(
        title=None, metadata={}, context={}, message_ids=ids, last_seq=len(contents), is_sliced=False
    )
    return thread


@st.composite
def threads(draw: st.DrawFn) -> Thread:
    """Any thread, its history well-formed or not."""
    thread = Thread("t", title=draw(st.none() | text), metadata=draw(metadata), tenant="acme")
    thread.messages = draw(st.lists(messages(), max_size=4))
    thread.context = draw(st.dictionaries(names, text, max_size=2))
    thread.created_at, thread.updated_at = draw(moments), draw(moments)
    return thread


@settings(deadline=None)
@given(threads())
def test_a_thread_is_read_back_from_its_json(thread: Thread) -> None:
    written = json.loads(json.dumps(thread.to_json()))
    read = Thread.from_json(written)

    assert read.to_json() == written
    assert (read.messages, read.metadata, read.tenant) == (thread.messages, thread.metadata, "acme")
    assert (read.created_at, read.updated_at) == (thread.created_at, thread.updated_at)


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("id", {"id": "a b"}),
        ("id", {"id": 7}),
        ("title", {"title": "x" * 501}),
        ("metadata", {"metadata": [1]}),
        ("tenant", {"tenant": "a/b"}),
        ("created_at", {"created_at": "2026-01-01T00:00:00"}),
        ("updated_at", {"updated_at": "yesterday"}),
        ("context.text", {"context": {"a": 7}}),
        ("context.key", {"context": {"a b": "x"}}),
        ("role", {"messages": [Message(role="user").to_json() | {"role": "bot"}]}),
        ("thread", {"messages": 7}),
    ],
)
def test_json_that_is_wrong_is_refused_by_its_name(field: str, values: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as refused:
        Thread.from_json(Thread("t").to_json() | values)

    assert refused.value.field == field


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("id", {"id": ""}),
        ("id", {"id": "a/b"}),
        ("title", {"title": 7}),
        ("metadata", {"metadata": {"a": datetime.now(UTC)}}),
        ("tenant", {"tenant": "-"}),
        ("message", {"messages": ["hi"]}),
    ],
)
def test_what_is_wrong_is_refused_by_its_name(field: str, values: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as refused:
        Thread(**values)

    assert refused.value.field == field


def test_an_argument_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(TypeError):
        Thread(owner="me")  # type: ignore[call-arg]


def test_times_are_aware() -> None:
    thread = Thread()

    assert thread.created_at.tzinfo is UTC
    assert thread.updated_at.tzinfo is UTC


def test_the_last_message_is_found_by_its_role() -> None:
    thread = Thread(messages=[user("1"), answer("m", Usage()), user("2")])

    assert thread.last_message() is thread.messages[2]
    assert thread.last_message("assistant") is thread.messages[1]
    assert thread.last_message("tool") is None
    assert Thread().last_message() is None


def test_tokens_and_tools_are_counted() -> None:
    result = Message(role="tool", tool_call_id="add-0", content="1")
    other = Message(role="tool", tool_call_id="add-1", content="1")
    thread = Thread(
        messages=[
            answer("a", Usage(1, 2, 1), "add", "add"),
            result,
            other,
            answer("a", Usage(10, 20)),
            answer("b", Usage(100, 200)),
            user(),
        ]
    )

    assert thread.usage() == Usage(111, 222, 1)
    assert thread.usage().total_tokens == 333
    assert thread.usage_by_model() == {"a": Usage(11, 22, 1), "b": Usage(100, 200)}
    assert thread.tool_usage() == {"add": 2}


def test_a_copy_goes_its_own_way() -> None:
    thread = loaded("1")
    copy = thread.copy()

    copy.add_message(user("2"))
    copy.metadata["a"] = 1
    copy.set_context("tone", "kind")

    assert (len(thread.messages), thread.metadata, thread.context) == (1, {}, {})
    assert [message.content for message in copy.new_messages] == ["2"]
    assert not copy.is_sliced


def test_what_is_new_is_what_has_no_place_yet() -> None:
    thread = loaded("1", "2")
    thread.add_message(user("3"))
    thread.messages.insert(1, user("between"))
    thread.messages.insert(0, Message(role="system", content="front"))

    assert [message.content for message in thread.new_messages] == ["between", "3"]
    assert [message.content for message in thread.leading_context.values()] == ["front"]
    assert not thread.is_sliced


def test_a_copy_that_lacks_something_is_its_own_window() -> None:
    def cut(*kept: int) -> bool:
        thread = loaded("1", "2", "3")
        thread.messages = [thread.messages[index] for index in kept]
        return thread.is_sliced

    assert not cut(0, 1, 2)
    assert cut(1, 2)
    assert cut(0, 1)
    assert cut(1, 0, 2)
    assert cut()


def test_adding_to_the_loaded_part_is_no_cut() -> None:
    thread = loaded("1", "2")
    thread.add_message(user("3"))

    assert not thread.is_sliced
    assert thread.seen_ids() == tuple(message.id for message in thread.messages[:2])


def test_a_listed_thread_says_that_it_has_no_messages() -> None:
    thread = loaded("1")
    thread.messages = None

    with pytest.raises(MessagesNotLoaded, match="load it with get_thread"):
        _ = thread.messages
    assert thread.new_messages == []
    assert not thread.has_messages
    assert "unloaded" in repr(thread)


def test_only_messages_can_be_messages() -> None:
    thread = Thread()

    with pytest.raises(InvalidInput, match="message: is str"):
        thread.add_message("hi")  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="messages: hold a dict"):
        thread.messages = [{"role": "user"}]  # type: ignore[list-item]


def test_context_is_kept_by_key_and_checked() -> None:
    thread = Thread()
    thread.set_context("tone", "kind")
    thread.set_context("tone", "short")
    thread.set_context("place", "here")
    thread.set_context("place", None)

    assert thread.context == {"tone": "short"}
    with pytest.raises(InvalidInput, match=r"context\.text"):
        thread.set_context("tone", 7)  # type: ignore[arg-type]
