"""Messages: read back from JSON as they were written, refused by the name of what is wrong."""

import copy
import json
import pickle
from collections.abc import Callable
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings

from conversation.attachment import Attachment
from conversation.errors import InvalidInput
from conversation.message import Message, ToolCall, Usage
from conversation.parts import FilePart, ImagePart, TextPart
from tests.unit.conversation.strategies import messages


@settings(deadline=None, max_examples=200)
@given(messages())
def test_a_message_is_read_back_from_its_json(message: Message) -> None:
    written = json.loads(json.dumps(message.to_json()))

    assert Message.from_json(written) == message
    assert Message.from_json(written).to_json() == written


def test_a_stored_message_is_read_back_as_stored() -> None:
    stored = Message.from_json(Message(role="user", content="hi").to_json() | {"seq": 7})

    assert stored.seq == 7
    with pytest.raises(AttributeError, match="content: a stored message cannot be changed"):
        stored.content = "other"


def from_checked(**values: Any) -> Message:
    (message,) = Message.list_from_checked(1, **{name: [value] for name, value in values.items()})
    return message


@pytest.mark.parametrize("clone", [copy.copy, copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
@pytest.mark.parametrize("build", [Message, from_checked])
def test_a_stored_message_can_be_copied(build: Callable[..., Message], clone: Callable[[Message], Message]) -> None:
    values = values_of(Message(role="user", content="hi", metadata={"a": [1]})) | {"seq": 7}
    stored = build(**values)

    assert clone(stored) == stored
    with pytest.raises(AttributeError):
        clone(stored).role = "tool"


def values_of(message: Message) -> dict[str, Any]:
    return {each.name: getattr(message, each.name) for each in fields(Message)}


@settings(deadline=None, max_examples=50)
@given(messages())
def test_a_message_from_checked_fields_is_the_one_that_its_constructor_makes(message: Message) -> None:
    values = values_of(message) | {"seq": 7}

    stored = from_checked(**values)

    assert stored == Message(**values)
    assert repr(stored) == repr(Message(**values))
    assert stored.to_json() == Message(**values).to_json()
    assert replace(stored, seq=None) == message
    assert pickle.loads(pickle.dumps(stored)) == stored
    for name in values:
        with pytest.raises(AttributeError, match=f"{name}: a stored message cannot be changed"):
            setattr(stored, name, values[name])
    with pytest.raises(AttributeError, match="attachments: a stored"):
        stored.add_attachment(Attachment(filename="a", content=b""))


def test_a_message_from_checked_fields_needs_all_of_them() -> None:
    with pytest.raises(KeyError, match="parts"):
        from_checked(role="user", content="hi", seq=7)


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("role", {"role": "bot"}),
        ("content", {"content": 7}),
        ("content", {"content": "a\x00b"}),
        ("content", {"content": "\ud800"}),
        ("content", {"content": "x" * 1_000_001}),
        ("content", {"content": [7]}),
        ("content.type", {"content": [{"type": "audio"}]}),
        ("content.image_url", {"content": [{"type": "image_url", "image_url": "ftp://x/y"}]}),
        ("parts", {"content": "a", "parts": (TextPart("b"),)}),
        ("id", {"id": "a b"}),
        ("id", {"id": None}),
        ("tool_calls", {"role": "assistant", "tool_calls": [{"id": "a"}]}),
        ("tool_calls", {"role": "user", "tool_calls": (ToolCall("a", "add", "{}"),)}),
        ("tool_calls.id", {"role": "assistant", "tool_calls": (ToolCall("", "add", "{}"),)}),
        ("tool_calls.arguments", {"role": "assistant", "tool_calls": (ToolCall("a", "add", {}),)}),  # type: ignore[arg-type]
        ("tool_call_id", {"role": "tool"}),
        ("tool_call_id", {"role": "tool", "tool_call_id": "a\x00"}),
        ("tool_call_id", {"role": "user", "tool_call_id": "a"}),
        ("name", {"name": "x" * 256}),
        ("name", {"name": 7}),
        ("reasoning", {"reasoning": b"x"}),
        ("provider_fields", {"provider_fields": {"family": "x"}}),
        ("provider_fields", {"role": "assistant", "provider_fields": ["x"]}),
        ("provider_fields", {"role": "assistant", "provider_fields": {"a": float("nan")}}),
        ("provider_fields", {"role": "assistant", "provider_fields": {"a": "x" * 1_000_001}}),
        ("source", {"source": ["x"]}),
        ("metadata", {"metadata": {"a": {1, 2}}}),
        ("metadata", {"metadata": {1: 2}}),
        ("metadata", {"metadata": {"a": float("nan")}}),
        ("attachments", {"attachments": ["a.txt"]}),
        ("usage", {"usage": {"prompt_tokens": 1}}),
        ("usage", {"usage": Usage("many")}),  # type: ignore[arg-type]
        ("created_at", {"created_at": datetime(2026, 1, 1)}),  # noqa: DTZ001 - that is the mistake
        ("created_at", {"created_at": "2026-01-01"}),
        ("state", {"state": "half"}),
        ("turn_id", {"turn_id": "7"}),
    ],
)
def test_what_is_wrong_is_refused_by_its_name(field: str, values: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as refused:
        Message(**({"role": "user"} | values))

    assert refused.value.field == field


def test_mime_type_is_another_name_of_an_attachments_media_type() -> None:
    file = Attachment(filename="a.txt", content=b"a", mime_type="text/plain")

    assert (file.media_type, file.mime_type) == ("text/plain", "text/plain")
    assert file == Attachment(filename="a.txt", content=b"a", media_type="text/plain")
    assert replace(file, media_type="text/csv").mime_type == "text/csv"
    assert "mime_type" not in file.to_json()
    assert Attachment(**file.to_json()).media_type == "text/plain"


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("content", {"content": 7}),
        ("created_at", {"created_at": "2026-01-01T00:00:00"}),
        ("created_at", {"created_at": None}),
        ("role", {"role": 7}),
        ("attachments.sha256", {"attachments": [{"filename": "a", "sha256": "../x"}]}),
        ("message", {"unknown": 1}),
        ("message", {"tool_calls": [{"id": "a"}]}),
    ],
)
def test_json_that_is_wrong_is_refused_by_its_name(field: str, values: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as refused:
        Message.from_json(Message(role="user").to_json() | values)

    assert refused.value.field == field


def test_a_list_of_parts_becomes_text_and_parts() -> None:
    message = Message(
        role="user",
        content=[  # type: ignore[arg-type]
            "one",
            {"type": "text", "text": "two"},
            {"type": "image_url", "image_url": {"url": "https://a.example/x.png"}},
            FilePart("a.txt"),
        ],
    )

    assert message.content == "one\n\ntwo"
    assert message.parts == (TextPart("one"), TextPart("two"), ImagePart("https://a.example/x.png"), FilePart("a.txt"))
    assert Message(role="user", parts=message.parts).content == "one\n\ntwo"


def test_a_part_that_speaks_of_a_file_needs_it_when_it_is_stored() -> None:
    message = Message(role="user", parts=(FilePart("a.txt"),))

    with pytest.raises(InvalidInput, match=r"parts: speak of .a\.txt., which is not attached"):
        message.check_files()
    message.add_attachment(Attachment(filename="a.txt", content=b"1"))
    message.check_files()


def test_ids_never_collide() -> None:
    assert len({Message(role="user").id for _ in range(10_000)}) == 10_000


def test_a_time_keeps_its_moment_whatever_its_zone() -> None:
    east = datetime(2026, 1, 1, 9, tzinfo=timezone(timedelta(hours=9)))

    message = Message.from_json(Message(role="user", created_at=east).to_json())

    assert message.created_at == datetime(2026, 1, 1, tzinfo=UTC)
    assert Message(role="user").created_at.utcoffset() == timedelta()


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("attachments.filename", {"filename": "../a", "content": b""}),
        ("attachments.content", {"filename": "a"}),
        ("attachments.content", {"filename": "a", "content": "text"}),
        ("attachments.content", {"filename": "a", "content": 5}),
        ("attachments.sha256", {"filename": "a", "sha256": "A" * 64}),
        ("attachments.size", {"filename": "a", "sha256": "0" * 64, "size": -1}),
        ("attachments.media_type", {"filename": "a", "content": b"", "media_type": 7}),
        ("attachments.media_type", {"filename": "a", "content": b"", "mime_type": 7}),
        ("attachments.mime_type", {"filename": "a", "content": b"", "media_type": "a/b", "mime_type": "a/c"}),
    ],
)
def test_an_attachment_that_is_wrong_is_refused_by_its_name(field: str, values: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as refused:
        Attachment(**values)

    assert refused.value.field == field
