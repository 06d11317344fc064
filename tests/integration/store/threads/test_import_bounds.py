"""A file says of its own thread what its lines carry, and no more: nothing else is set, or followed."""

import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, delete, insert, select, update

from conversation.attachment import Attachment
from conversation.errors import InvalidInput, LimitReached
from conversation.ids import new_id
from conversation.message import Message
from conversation.thread import Thread
from store import tables
from store.file_store import FileStore
from store.thread_store import ThreadStore
from store.threads import importer
from tests.integration.store.threads.conftest import contents, lines_of, said
from tests.tries import check_tries

#: Positions of lines in the file that `lines` gives.
HEADER, CONTEXT, SUMMARY, TURN, FIRST, LAST = range(6)
FOREIGN, TURN_ID = new_id(), new_id()
MOMENT = datetime(2026, 1, 1, tzinfo=UTC)
FILE: dict[str, Any] = {"filename": "a", "media_type": "text/plain", "sha256": "0" * 64, "size": 1}


def add_summary_and_turn(connection: Connection) -> None:
    key = connection.execute(select(tables.threads.c.key)).scalar_one()
    own = {"thread_key": key, "created_at": MOMENT}
    summary = own | {"id": new_id(), "from_seq": 1, "to_seq": 1, "content": "short", "model": "m"}
    connection.execute(insert(tables.summaries).values(summary))
    turn = own | {"id": TURN_ID, "tenant": "default", "state": "completed", "agent": "a", "metadata": {}}
    connection.execute(insert(tables.turns).values(turn | {"attempt": 1, "window_to_seq": 1, "finished_at": MOMENT}))
    connection.execute(update(tables.threads).values(summary_id=summary["id"]))


@pytest.fixture
async def lines(store: ThreadStore) -> list[str]:
    """A header, context, a summary, a turn, two messages, and the end."""
    thread = Thread("t", messages=[said("1"), said("2", attachments=[Attachment(filename="a", content=b"1")])])
    thread.set_context("tone", "kind")
    await store.save_thread(thread)
    await store.database.run_async(add_summary_and_turn)
    found = await lines_of(store)
    await store.delete_thread("t")
    return found


def with_values(line: str, values: dict[str, Any]) -> str:
    record = json.loads(line)
    target = record["thread"] if record["kind"] == "thread" else record
    target |= values
    return json.dumps(record)


#: By what is wrong: which line, what it says, and how it is refused; None where it is taken and says nothing.
FORGED: dict[str, tuple[int, dict[str, Any], str | None]] = {
    "a summary of another thread": (HEADER, {"summary_id": FOREIGN}, "line 1: summary_id"),
    "a summary before of another thread": (SUMMARY, {"previous_id": FOREIGN}, "line 3: previous_id"),
    "a turn of another thread": (FIRST, {"turn_id": FOREIGN}, "lines 2-7: turn_id"),
    "a legal hold": (HEADER, {"legal_hold": True}, None),
    "an end far behind": (HEADER, {"last_seq": 2**53}, None),
    "no seq left": (HEADER, {"last_seq": 2**63 - 1}, "line 1: last_seq"),
    "a beginning behind the end": (HEADER, {"history_starts_after": 3}, "line 1: history_starts_after"),
    "a message that is hidden": (HEADER, {"history_starts_after": 1}, "line 5: seq"),
    "a summary of what does not exist": (SUMMARY, {"to_seq": 3}, "line 3: to_seq"),
    "a summary of nothing": (SUMMARY, {"from_seq": 0}, "line 3: to_seq"),
    "a window behind the end": (TURN, {"window_to_seq": 3}, "line 4: window_to_seq"),
    "tokens that are none": (TURN, {"usage": {"prompt": 1}}, "line 4: usage"),
    "tokens that are text": (SUMMARY, {"usage": {"prompt_tokens": "1"}}, "line 3: usage"),
    "half an error": (TURN, {"error_kind": "poison"}, "line 4: error_message"),
    "files left out of another form": (TURN, {"omitted": {"messages": 1}}, "line 4: omitted"),
    "too many files": (LAST, {"attachments": [FILE] * 21}, "line 6: attachments: are 21"),
    "a file that is too large": (LAST, {"attachments": [FILE | {"size": 2**31}]}, "line 6: attachments.size"),
    "files that are too large": (LAST, {"attachments": [FILE | {"size": 99 * 2**20}] * 2}, "line 6: attachments: have"),
    "a program": (
        LAST,
        {"attachments": [FILE | {"media_type": "application/x-elf"}]},
        "line 6: attachments.media_type",
    ),
    "bytes": (LAST, {"attachments": [{"filename": "a", "content": "x"}]}, "line 6: attachments.content"),
}


async def test_a_file_that_claims_more_than_it_carries_sets_none_of_it(store: ThreadStore, lines: list[str]) -> None:
    successes = []
    for name, (place, values, complaint) in FORGED.items():
        forged = [with_values(line, values) if number == place else line for number, line in enumerate(lines)]
        try:
            await store.import_thread(forged)
        except InvalidInput as error:
            if complaint is None or not str(error).startswith(complaint) or await store.count():
                successes.append(f"{name}: {error}")
            continue
        row = await store.database.run_async(lambda connection: connection.execute(select(tables.threads)).one())
        if complaint is not None or (row.last_seq, row.legal_hold) != (2, False):
            successes.append(name)
        await store.delete_thread("t")

    assert successes == []
    check_tries(
        "imports that name another's rows, or claim more than their lines carry",
        tries=len(FORGED),
        successes=len(successes),
    )


DEEP = '{"kind": "context", "key": "k", "content": ' + "[" * 100_000 + "]" * 100_000 + "}"
MALFORMED: dict[str, object] = {
    "bytes": b"{}",
    "nothing": None,
    "a number": 7,
    "no JSON": "{",
    "an object of Python's": {"kind": "context"},
    "two lines": '{"kind":\n"context"}',
    "a list": "[]",
    "a text": '"context"',
    "null": "null",
    "deep JSON": DEEP,
    "NaN": '{"kind": "context", "key": "k", "content": NaN}',
    "infinity": '{"kind": "summary", "cost": 1e999}',
    "a huge number": '{"kind": "message", "seq": ' + "9" * 5_000 + "}",
    "a number beyond its column": '{"kind": "message", "seq": 18446744073709551616}',
    "a surrogate": "\ud800",
    "an escaped surrogate": '{"kind": "context", "key": "k", "content": "\\ud800"}',
    "a NUL": '{"kind": "context", "key": "k", "content": "\\u0000"}',
    "a kind that is a list": '{"kind": ["context"]}',
    "a key that is a list": '{"kind": "context", "key": [], "content": "x"}',
    "a million keys": '{"kind": "turn", "metadata": {' + ",".join(f'"{n}":0' for n in range(100_000)) + "}}",
    "a long line": '{"kind": "context", "key": "' + "x" * (16 * 2**20) + '"}',
}


async def test_a_line_that_is_malformed_is_named_and_stores_nothing(store: ThreadStore, lines: list[str]) -> None:
    successes = []
    for name, line in MALFORMED.items():
        try:
            await store.import_thread([lines[0], line, *lines[2:]])  # type: ignore[list-item]
        except InvalidInput as error:
            if error.field.startswith("line 2: ") and not await store.count():
                continue
        successes.append(name)

    assert successes == []
    check_tries("lines of an import that are malformed", tries=len(MALFORMED), successes=len(successes))


@pytest.fixture
async def elsewhere(tmp_path: Path) -> AsyncIterator[ThreadStore]:
    files = await FileStore.create(tmp_path / "elsewhere")
    async with await ThreadStore.create(f"sqlite:///{tmp_path}/elsewhere.db", file_store=files) as opened:
        yield opened


async def test_an_honest_export_of_all_that_there_is_comes_back_as_it_was(
    store: ThreadStore, elsewhere: ThreadStore, lines: list[str]
) -> None:
    await store.import_thread(lines)
    await store.fork("t", new_thread_id="forked")

    for thread_id in ("t", "forked"):
        exported = await lines_of(store, thread_id)
        await elsewhere.import_thread(exported)
        assert await lines_of(elsewhere, thread_id) == exported
    assert [json.loads(line)["kind"] for line in await lines_of(store, "forked")].count("summary") == 1


async def test_a_file_of_a_users_is_theirs_without_system_texts_and_others_files(
    store: ThreadStore, lines: list[str]
) -> None:
    """The tenant's own files are taken at their word: these are not."""
    header = with_values(lines[HEADER], {"summary_id": None})
    plain = [header, lines[FIRST], with_values(lines[-1], {"lines": 2})]
    refused = {
        "line 2: kind": lines,
        "line 2: role": [plain[0], with_values(plain[1], {"role": "system"}), plain[2]],
        "line 1: owner": [with_values(plain[0], {"owner": "bob"}), *plain[1:]],
        "line 1: metadata.user": [with_values(plain[0], {"metadata": {"user": "bob"}}), *plain[1:]],
        "line 2: sender": [plain[0], with_values(lines[TURN], {"sender": "bob"}), plain[2]],
        "line 2: attachments.sha256": [plain[0], with_values(lines[LAST], {}), plain[2]],
    }
    for complaint, forged in refused.items():
        with pytest.raises(InvalidInput, match=complaint):
            await store.import_thread(forged, user="ann")
    assert await store.count() == 0

    await store.import_thread(plain, user="ann")

    assert (await store.get_thread("t")).user == "ann"
    assert await contents(store) == ["1"]


@pytest.mark.parametrize("kind", ["sqlite"])
async def test_the_number_of_files_is_bounded(
    store: ThreadStore, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importer, "FILES_MAX", 1)
    more = [FILE | {"sha256": f"{number:064}"} for number in range(2)]

    with pytest.raises(InvalidInput, match="attachments: are too many; at most 1 files fit"):
        await store.import_thread([*lines[:LAST], with_values(lines[LAST], {"attachments": more}), lines[-1]])

    assert await store.count() == 0


@pytest.mark.parametrize("kind", ["sqlite"])
async def test_files_count_as_the_tenants_and_wait_for_its_scanner(
    store: ThreadStore, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = {"tenant_max_bytes": FILE["size"], "scanner_url": "tcp://127.0.0.1:1"}
    monkeypatch.setattr(store, "settings", store.settings.model_copy(update=limits))
    files = [FILE | {"sha256": f"{number:064}"} for number in range(2)]
    others = [*lines[:LAST], with_values(lines[LAST], {"attachments": files}), lines[-1]]

    with pytest.raises(LimitReached):
        await store.import_thread(others)
    await store.database.run_async(lambda connection: connection.execute(delete(tables.blobs)))
    await store.import_thread([*lines[:LAST], with_values(lines[LAST], {"attachments": files[:1]}), lines[-1]])

    scans = await store.database.run_async(lambda connection: connection.execute(select(tables.blobs.c.scan)).all())
    assert [tuple(row) for row in scans] == [("pending",)]


@pytest.mark.parametrize("kind", ["sqlite"])
async def test_lines_whose_own_code_fails_are_none(store: ThreadStore) -> None:
    class Broken(list[str]):
        def __iter__(self) -> Iterator[str]:
            raise RuntimeError

    with pytest.raises(InvalidInput, match="lines: cannot be read"):
        await store.import_thread(Broken())


@pytest.mark.endurance
@pytest.mark.parametrize("kind", ["sqlite"])
async def test_many_files_are_stored_in_statements_of_a_bounded_size(
    store: ThreadStore, elsewhere: ThreadStore
) -> None:
    messages = [
        Message(
            role="user",
            content=str(number),
            attachments=[
                Attachment(filename="a", media_type="text/plain", sha256=f"{number:060}{place:04}", size=1)
                for place in range(20)
            ],
        )
        for number in range(120)
    ]
    rows = [message.to_json() | {"kind": "message", "seq": seq, "tokens": 1} for seq, message in enumerate(messages, 1)]
    await store.append("t", said("1"))
    header = with_values((await lines_of(store))[0], {"last_seq": len(rows)})
    end = json.dumps({"kind": "end", "lines": len(rows) + 1})

    outcome = await elsewhere.import_thread([header, *map(json.dumps, rows), end])

    assert len(outcome.blobs) == 2_400
