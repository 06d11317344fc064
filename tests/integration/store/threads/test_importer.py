"""Lines that are broken, cut off or of a newer version are refused, by their number and field."""

import json
from typing import Any

import pytest

from conversation.attachment import Attachment
from conversation.errors import InvalidInput
from conversation.thread import Thread
from store.thread_store import ThreadStore
from tests.integration.store.threads.conftest import contents, lines_of, said


@pytest.fixture
async def lines(store: ThreadStore) -> list[str]:
    """Two messages' worth: header, context, message, message, end."""
    thread = Thread("t", messages=[said("1"), said("2", attachments=[Attachment(filename="a", content=b"1")])])
    thread.set_context("tone", "kind")
    await store.save_thread(thread)
    found = await lines_of(store)
    await store.delete_thread("t")
    return found


def changed(line: str, **values: Any) -> str:
    return json.dumps(json.loads(line) | values)


def without(line: str, name: str) -> str:
    return json.dumps({key: value for key, value in json.loads(line).items() if key != name})


@pytest.mark.parametrize("kind", ["memory"])
@pytest.mark.parametrize(
    ("place", "values", "complaint"),
    [
        (0, {"version": 2}, r"line 1: version: is 2; this release reads up to 1"),
        (0, {"version": "1"}, r"line 1: version: is '1'"),
        (0, {"format": "other"}, r"line 1: format: is not ours"),
        (0, {"thread": {"id": "t"}}, r"line 1: tenant: is missing"),
        (0, {"thread": []}, r"line 1: thread: is no JSON object"),
        (1, {"content": 7}, r"line 2: content: is int"),
        (1, {"kind": "other"}, r"line 2: kind: is unknown"),
        (1, {"kind": "thread"}, r"line 2: kind: thread stands too late"),
        (2, {"seq": 0}, r"line 3: seq: is 0"),
        (2, {"seq": "1"}, r"line 3: seq: is '1'"),
        (2, {"role": "bot"}, r"line 3: role: is 'bot'"),
        (2, {"content": "a\x00"}, r"line 3: content: holds a NUL"),
        (2, {"created_at": "2026-01-01T00:00:00"}, r"line 3: created_at: has no time zone"),
        (2, {"tokens": -1}, r"line 3: tokens: is -1"),
        (2, {"unknown": 1}, r"line 3: message: cannot be read"),
        (2, {"usage": {"prompt_tokens": "x"}}, r"line 3: usage"),
        (2, {"turn_id": "0199aaaa-0000-7000-8000-000000000000"}, r"lines 2-5: turn_id: .* no turn before it"),
        (3, {"seq": 1}, r"line 4: seq: is 1"),
        (3, {"seq": 3}, r"line 4: seq: is 3; it grows .* up to the thread's last_seq, 2"),
        (3, {"attachments": [{"filename": "a", "sha256": "0" * 64}]}, r"line 4: attachments: lack size"),
        (3, {"attachments": [{"filename": "../a", "sha256": "0" * 64}]}, r"line 4: attachments.filename"),
        (4, {"lines": 3}, r"line 5: lines: says 3"),
    ],
)  # fmt: skip
async def test_a_wrong_line_is_named_by_its_number_and_field(
    store: ThreadStore, lines: list[str], place: int, values: dict[str, Any], complaint: str
) -> None:
    lines[place] = changed(lines[place], **values)

    with pytest.raises(InvalidInput, match=complaint):
        await store.import_thread(lines)

    assert await store.count() == 0


@pytest.mark.parametrize("kind", ["memory"])
@pytest.mark.parametrize("name", ["id", "role", "content", "created_at", "seq"])
async def test_a_field_that_is_missing_is_not_made_up(store: ThreadStore, lines: list[str], name: str) -> None:
    lines[2] = without(lines[2], name)

    with pytest.raises(InvalidInput, match=f"line 3: {name}: is missing"):
        await store.import_thread(lines)


async def test_a_file_that_was_cut_off_or_torn_is_refused(store: ThreadStore, lines: list[str]) -> None:
    wrong = {
        r"line 5: is missing; the file was truncated": lines[:-1],
        r"line 4: lines: says 4": lines[:2] + lines[3:],
        r"line 3: json: cannot be read": [*lines[:2], lines[2][:20]],
        r"line 6: kind: message stands too late": [*lines, lines[3]],
        r"line 1: is missing": [],
        r"line 1: format": lines[1:],
        r"lines 2-5: id: is stored already, or there twice": [*lines[:3], changed(lines[2], seq=2), lines[4]],
    }

    for complaint, torn in wrong.items():
        with pytest.raises(InvalidInput, match=complaint):
            await store.import_thread(torn)

    assert await store.count() == 0
    await store.import_thread(["", *lines, "\n"])
    assert await contents(store) == ["1", "2"]
