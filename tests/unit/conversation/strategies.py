"""Conversations for property tests: any message, and any heap of messages."""

from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st

from conversation.attachment import Attachment
from conversation.message import Message, ToolCall, Usage
from conversation.parts import FilePart, ImagePart, Part, TextPart

text = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=12)
names = st.text("abc-é_1", min_size=1, max_size=6)
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(-1e9, 1e9) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=5,
)
metadata = st.dictionaries(text, json_values, max_size=3)
counts = st.integers(0, 10**9)
moments = st.datetimes(datetime(1990, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - bounds of naive ones
parts: st.SearchStrategy[Part] = (
    st.builds(TextPart, text)
    | st.builds(ImagePart, names.map(lambda name: f"https://a.example/{name}"))
    | st.builds(FilePart, names)
)
attachments = st.builds(
    lambda filename, content: Attachment(
        filename=filename, sha256=Attachment(filename="x", content=content).sha256, size=len(content)
    ),
    names,
    st.binary(max_size=4),
)
calls = st.builds(ToolCall, names, names, text)


@st.composite
def messages(draw: st.DrawFn) -> Message:
    """Any message that can be made."""
    role = draw(st.sampled_from(["system", "user", "assistant", "tool"]))
    said = draw(st.lists(parts, max_size=3))
    values: dict[str, Any] = {"parts": tuple(said)} if said else {"content": draw(text)}
    if role == "assistant":
        values["tool_calls"] = tuple(draw(st.lists(calls, max_size=2)))
        # Text that no JSON column of values keeps as it is: NULs, and the order of keys.
        values["provider_fields"] = draw(st.none() | st.dictionaries(names, st.text("a\x00é", max_size=3), max_size=3))
    if role == "tool":
        values["tool_call_id"] = draw(names)
    return Message(
        role=role,  # type: ignore[arg-type]
        name=draw(st.none() | names),
        reasoning=draw(st.none() | text),
        source=draw(st.none() | metadata),
        metadata=draw(metadata),
        attachments=draw(st.lists(attachments, max_size=2)),
        usage=draw(st.none() | st.builds(Usage, counts, counts, counts)),
        created_at=draw(moments),
        state=draw(st.sampled_from(["complete", "partial"])),  # type: ignore[arg-type]
        **values,
    )


#: Few ids, so that calls and results meet, and meet twice.
_ids = st.sampled_from("abc")
heaps: st.SearchStrategy[list[Message]] = st.lists(
    st.builds(Message, role=st.sampled_from(["system", "user"]), content=text)
    | st.builds(
        lambda ids: Message(role="assistant", tool_calls=tuple(ToolCall(id_, "add", "{}") for id_ in ids)),
        st.lists(_ids, max_size=3),
    )
    | st.builds(lambda id_: Message(role="tool", tool_call_id=id_, content=id_), _ids),
    max_size=12,
)
