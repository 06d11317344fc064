"""Message lists from elsewhere: read as ours, with every change said."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conversation.errors import InvalidInput
from conversation.history import open_calls
from conversation.message import MEMBERS_MAX, Message, ToolCall
from conversation.openai_format import from_openai
from conversation.parts import FilePart, ImagePart, TextPart
from conversation.thread import Thread


def one(**given: Any) -> Message:
    [message] = from_openai([given]).messages
    return message


def call(id_: str, name: str = "add", arguments: Any = "{}") -> dict[str, Any]:
    return {"id": id_, "type": "function", "function": {"name": name, "arguments": arguments}}


def test_a_conversation_with_tools_is_read_as_it_is() -> None:
    read = from_openai(
        [
            {"role": "system", "content": "be kind"},
            {"role": "user", "content": "1 + 2?", "name": "ann"},
            {"role": "assistant", "content": None, "tool_calls": [call("a", arguments='{"a": 1}')]},
            {"role": "tool", "tool_call_id": "a", "content": "3"},
            {"role": "assistant", "content": "3", "reasoning_content": "easy", "refusal": None},
        ]
    )

    assert read.changes == ()
    assert [m.role for m in read.messages] == ["system", "user", "assistant", "tool", "assistant"]
    assert [m.content for m in read.messages] == ["be kind", "1 + 2?", "", "3", "3"]
    assert read.messages[1].name == "ann"
    assert read.messages[2].tool_calls == (ToolCall("a", "add", '{"a": 1}'),)
    assert read.messages[4].reasoning == "easy"
    assert {json.dumps(m.source) for m in read.messages} == {'{"importer": "openai"}'}


def test_parts_stay_in_their_order_and_pictures_become_attachments() -> None:
    picture = "data:image/png;base64," + base64.b64encode(b"\x89PNG").decode()

    read = from_openai(
        [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "look"},
                    {"type": "image_url", "image_url": {"url": picture, "detail": "low"}},
                    {"type": "image_url", "image_url": {"url": "https://a.example/x.png"}},
                    {"type": "file", "file": {"filename": "a.txt", "file_data": "data:text/plain;base64,aGk="}},
                    {"type": "input_audio", "input_audio": {"data": "", "format": "wav"}},
                ],
            }
        ]
    )

    [message] = read.messages
    assert message.parts == (
        TextPart("look"),
        FilePart("image-1.png"),
        ImagePart("https://a.example/x.png"),
        FilePart("a.txt"),
        TextPart("[A part of type input_audio was not imported.]"),
    )
    assert [(f.filename, f.content, f.media_type) for f in message.attachments] == [
        ("image-1.png", b"\x89PNG", "image/png"),
        ("a.txt", b"hi", "text/plain"),
    ]
    assert read.changes == (
        "messages[0].content[1]: its bytes became the attachment image-1.png",
        "messages[0].content[3]: its bytes became the attachment a.txt",
        "messages[0].content[4]: a part of type input_audio was left out; a note stands in its place",
    )


def test_a_list_of_one_text_is_a_text() -> None:
    message = one(role="user", content=[{"type": "text", "text": "hi"}])

    assert (message.content, message.parts) == ("hi", ())
    assert one(role="assistant", content=None, refusal="no").content == "no"
    assert one(role="user").content == ""


def test_old_kinds_of_roles_and_calls_are_read_as_new_ones() -> None:
    read = from_openai(
        [
            {"role": "developer", "content": "rules"},
            {"role": "assistant", "content": None, "function_call": {"name": "add", "arguments": "{}"}},
            {"role": "function", "name": "add", "content": "3"},
        ]
    )

    assert [m.role for m in read.messages] == ["system", "assistant", "tool"]
    assert read.messages[2].tool_call_id == read.messages[1].tool_calls[0].id
    assert read.changes == (
        "messages[0]: the role developer became system",
        "messages[1]: its function_call became the tool call call_0_messages[1]",
        "messages[2]: the role function became tool",
    )


def test_other_shapes_of_calls_are_read_too() -> None:
    custom = {"id": "b", "type": "custom", "custom": {"name": "shell", "input": "ls"}}

    read = from_openai([{"role": "assistant", "tool_calls": [call("a", arguments={"a": 1}), custom]}])

    assert [c.arguments for c in read.messages[0].tool_calls] == ['{"a": 1}', '{"input": "ls"}']
    assert len(read.changes) == 4


def test_what_is_not_well_formed_is_repaired_and_said() -> None:
    read = from_openai(
        [
            {"role": "tool", "tool_call_id": "x", "content": "?"},
            {"role": "assistant", "tool_calls": [call("a")]},
            {"role": "user", "content": "a\x00b"},
        ]
    )

    assert [(m.role, m.content) for m in read.messages if m.role == "user"] == [("user", "a\ufffdb")]
    assert [m.role for m in read.messages] == ["assistant", "tool", "user"]
    assert read.changes == (
        "messages[2].content[0]: characters that no database stores were replaced",
        "a result of call 'x' was left out: no open call has that id",
        "call 'a' of add had no result; one that says so was added",
    )


@pytest.mark.parametrize(
    ("place", "given"),
    [
        ("messages[0]", "hi"),
        ("messages[0].role", {"role": "bot", "content": "x"}),
        ("messages[0].role", {"content": "x"}),
        ("messages[0].content", {"role": "user", "content": 7}),
        ("messages[0].content[0]", {"role": "user", "content": [7]}),
        ("messages[0].content[0]", {"role": "user", "content": [{"type": "text", "text": 7}]}),
        ("messages[0].content", {"role": "user", "content": "x" * 1_000_001}),
        ("messages[0].tool_calls[0]", {"role": "assistant", "tool_calls": ["x"]}),
        ("messages[0].tool_calls", {"role": "assistant", "tool_calls": 7}),
        ("messages[0].name", {"role": "user", "name": 7}),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_by_its_place(place: str, given: Any) -> None:
    with pytest.raises(InvalidInput) as refused:
        from_openai([given])

    assert refused.value.field == place


junk = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
part_shapes = st.fixed_dictionaries(
    {"type": st.sampled_from(["text", "image_url", "x"])}, optional={"text": junk, "image_url": junk}
)
call_shapes = st.sampled_from([call("a"), call("b"), call("a", arguments=7), {}])
shapes = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "developer", "user", "assistant", "tool", "function", "bot"])},
    optional={
        "content": junk | st.lists(part_shapes, max_size=2),
        "tool_calls": st.none() | st.lists(call_shapes, max_size=2),
        "tool_call_id": junk | st.sampled_from("ab"),
        "function_call": st.none() | st.just({"name": "add", "arguments": "{}"}),
        "name": junk,
    },
)


@settings(deadline=None, max_examples=300)
@given(st.lists(shapes, max_size=5))
def test_any_list_is_read_as_well_formed_or_refused_by_its_place(given_: list[dict[str, Any]]) -> None:
    try:
        read = from_openai(given_)
    except InvalidInput as error:
        refused = error
    else:
        assert open_calls(Thread(messages=read.messages).messages) == {}
        return
    assert refused.field.startswith("messages[")


@pytest.mark.parametrize("field", ["content", "tool_calls"])
def test_a_list_that_is_too_long_is_refused_before_its_items_are_read(field: str) -> None:
    items = [object()] * (MEMBERS_MAX + 1)

    with pytest.raises(InvalidInput, match=rf"messages\[0\]\.{field}: are more than {MEMBERS_MAX}"):
        from_openai([{"role": "assistant", field: items}])
