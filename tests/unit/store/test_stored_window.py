"""A window that makes its messages as they are looked at: they are those of its rows, in a part of their memory."""

import json
import tracemalloc
from datetime import UTC, datetime
from typing import Any

import pytest

from conversation.attachment import Attachment
from conversation.message import Message, ToolCall, Usage
from conversation.parts import part_from_json
from store.history.message_rows import ROW_COLUMNS, build_messages
from store.history.stored_window import StoredWindow

FILE = Attachment(filename="a.txt", sha256="a" * 64, size=3)
PLAIN = {
    "metadata": {},
    "has_attachments": False,
    "created_at": "2026-01-02T03:04:05.678901+02:00",
    "state": "complete",
}
CALL = {"id": "c", "name": "look", "arguments": "{}"}
#: What messages have beside a text.
MESSAGES: list[dict[str, Any]] = [
    {"role": "user", "content": "one", "name": "Ann", "turn_id": "t-1"},
    {"role": "assistant", "content": "", "tool_calls": [CALL], "usage": {"prompt_tokens": 1, "completion_tokens": 2}},
    {"role": "tool", "content": "\ud83d\ude00 \u00e9", "tool_call_id": "c", "name": "look"},
    {"role": "assistant", "content": "two", "reasoning": "so", "provider_fields": {"z": 1, "a": [True, 1, 1.5, None]}},
    {"role": "user", "content": "three", "has_attachments": True, "metadata": {"n": 2**70, "deep": [{"a": "b"}]}},
    {"role": "system", "content": "four", "source": {"agent": "a"}, "state": "truncated"},
    {"role": "user", "content": "five", "parts": [{"type": "text", "text": "five"}]},
]


def make_rows(messages: list[dict[str, Any]]) -> list[list[Any]]:
    """Rows as a database's JSON has them."""
    named = [PLAIN | {"id": f"m-{seq}", "seq": seq} | message for seq, message in enumerate(messages, start=1)]
    rows: list[list[Any]] = json.loads(json.dumps([[row.get(name) for name in ROW_COLUMNS] for row in named]))
    return rows


def make_message(row: list[Any], files: list[Attachment]) -> Message:
    """The message of a row, by its constructor."""
    values = dict(zip(ROW_COLUMNS, row, strict=True))
    has_attachments, _ = values.pop("has_attachments"), values.pop("tokens")
    return Message(
        **values
        | {
            "parts": tuple(map(part_from_json, values["parts"] or ())),
            "tool_calls": tuple(ToolCall(**call) for call in values["tool_calls"] or ()),
            "usage": values["usage"] and Usage(**values["usage"]),
            "created_at": datetime.fromisoformat(values["created_at"]).astimezone(UTC),
            "attachments": files if has_attachments else [],
        }
    )


ROWS, FILES = make_rows(MESSAGES), {"m-5": [FILE]}
BUILT = tuple(make_message(row, [FILE]) for row in ROWS)


def test_its_messages_are_those_of_its_rows_each_time() -> None:
    window = StoredWindow(ROWS, FILES)

    assert len(window) == len(ROWS)
    assert tuple(window) == tuple(window) == BUILT
    assert [json.dumps(message.to_json()) for message in window] == [json.dumps(each.to_json()) for each in BUILT]
    assert window == BUILT
    assert window != BUILT[1:]
    assert build_messages(ROWS, FILES) == BUILT
    assert build_messages([], {}) == ()
    assert window[4].attachments == [FILE]


@pytest.mark.parametrize("index", [0, 3, -1])
def test_one_message_is_that_of_its_row(index: int) -> None:
    assert StoredWindow(ROWS, FILES)[index] == BUILT[index]


@pytest.mark.parametrize("part", [slice(2, None), slice(None, 4), slice(-3, -1), slice(4, 5), slice(5, 5)])
def test_a_part_of_it_is_one_as_well(part: slice) -> None:
    window = StoredWindow(ROWS, FILES)[part]

    assert isinstance(window, StoredWindow)
    assert tuple(window) == BUILT[part]


def test_a_window_may_be_empty() -> None:
    assert (tuple(StoredWindow([])), len(StoredWindow([]))) == ((), 0)


def test_messages_share_nothing_that_can_be_changed() -> None:
    window = StoredWindow(make_rows([{"role": "user", "content": "hello"}] * 3))

    first, second, _ = window
    first.metadata["told"] = True
    first.attachments.append(FILE)

    assert (second.metadata, second.attachments) == ({}, [])
    assert (window[0].metadata, window[0].attachments) == ({}, [])

    with_files = StoredWindow(ROWS, FILES)
    with_files[4].attachments.clear()
    assert with_files[4].attachments == [FILE]


@pytest.mark.parametrize(
    "damage",
    [
        {"parts": [{"type": "hologram"}]},
        {"parts": 7},
        {"tool_calls": [{"id": "c"}]},
        {"usage": {"prompt": 1}},
        {"created_at": "x"},
    ],
)
def test_rows_of_which_no_message_can_be_built_are_refused_at_once(damage: dict[str, Any]) -> None:
    rows = make_rows([{"role": "assistant", "content": "x"} | damage])
    with pytest.raises(Exception) as raised:  # noqa: PT011 - the same as from building it
        build_messages(rows, {})

    with pytest.raises(raised.type):
        StoredWindow(rows)


def test_it_holds_a_fifth_of_what_its_messages_do_besides_their_texts() -> None:
    messages = [{"role": ("user", "assistant")[seq % 2], "content": f"message {seq}".ljust(200)} for seq in range(50)]
    rows = make_rows(messages)

    bytes_of = {}
    for build in (lambda: build_messages(rows, {}), lambda: StoredWindow(rows)):
        tracemalloc.start()
        built = build()
        bytes_of[type(built)], _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()

    assert bytes_of[StoredWindow] < bytes_of[tuple] / 5
    # The texts are those of the rows.
    contents = ROW_COLUMNS.index("content")
    assert all(message.content is row[contents] for message, row in zip(StoredWindow(rows), rows, strict=True))
