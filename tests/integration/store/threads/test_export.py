"""A thread goes out as lines and comes in again: the same ids, places and times, or a line that is named."""

import json
import tracemalloc
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, select

from conversation.attachment import Attachment
from conversation.errors import InvalidInput, ThreadNotFound
from conversation.message import Message, ToolCall, Usage
from conversation.thread import Thread
from store import tables
from store.file_store import FileStore
from store.thread_store import ThreadStore
from store.threads import export
from store.threads.export import PAGE, Export
from store.threads.importer import import_thread
from store.turns import records
from tests.integration.store.threads.conftest import contents, lines_of, said
from tests.upgrade.story import tell

pytestmark = pytest.mark.soak

#: Columns that say where a row is, not what it holds.
PLACES = {"key", "thread_key", "arrival_seq", "fencing_token", "context_version", "summary_version"}
#: What is not part of a conversation: it belongs to the installation, or says how a turn was asked for.
NOT_CARRIED = {"idempotency_key", "request_digest", "notified_at", "window_summary_id", "window_context_version"}
NOT_CARRIED |= {"first_fencing_token", "fencing_token"}


@pytest.fixture
async def elsewhere(tmp_path: Path) -> AsyncIterator[ThreadStore]:
    """Another, empty installation, without the files."""
    files = await FileStore.create(tmp_path / "elsewhere")
    async with await ThreadStore.create(f"sqlite:///{tmp_path}/elsewhere.db", file_store=files) as opened:
        yield opened


def rows(connection: Connection) -> dict[str, list[dict[str, Any]]]:
    """All that is stored of the thread `story`, whatever the keys are."""
    is_story = (tables.threads.c.tenant == "default") & (tables.threads.c.id == "story")
    key = select(tables.threads.c.key).where(is_story).scalar_subquery()
    finished = select(tables.turns.c.id).where(tables.turns.c.finished_at.is_not(None))
    wanted = {
        tables.threads: tables.threads.c.key == key,
        tables.thread_context: tables.thread_context.c.thread_key == key,
        tables.summaries: tables.summaries.c.thread_key == key,
        tables.turns: (tables.turns.c.thread_key == key) & tables.turns.c.id.in_(finished),
        tables.messages: tables.messages.c.thread_key == key,
        tables.attachments: tables.attachments.c.thread_key == key,
    }
    return {
        table.name: [
            {name: value for name, value in row.items() if name not in PLACES | NOT_CARRIED}
            for row in connection.execute(select(table).where(condition)).mappings()
        ]
        for table, condition in wanted.items()
    }


def in_order(found: dict[str, list[dict[str, Any]]]) -> dict[str, list[str]]:
    return {
        name: sorted(json.dumps(row, sort_keys=True, default=str) for row in of_table)
        for name, of_table in found.items()
    }


async def test_everything_of_a_thread_arrives_as_it_was(store: ThreadStore, elsewhere: ThreadStore) -> None:
    told = await store.database.run_async(tell)

    imported = await elsewhere.import_thread(await lines_of(store, "story"))

    before, after = await store.database.run_async(rows), await elsewhere.database.run_async(rows)
    for found in (before, after):
        for row in found["threads"] + found["thread_context"]:
            row.pop("lease_owner", None), row.pop("updated_at")
        for row in found["messages"]:
            # Of a turn that goes on, the question is history already.
            row["turn_id"] = None if row["turn_id"] == told.running_turn else row["turn_id"]
    assert in_order(after) == in_order(before)
    assert (imported.messages, imported.turns) == (len(before["messages"]), len(before["turns"]))
    assert (imported.summaries, imported.context) == (1, 1)
    first = await store.database.run_async(records.read_result, turn_id=told.completed_turn)
    assert await elsewhere.database.run_async(records.read_result, turn_id=told.completed_turn) == first
    assert first.messages


async def test_what_was_loaded_here_is_loaded_there(store: ThreadStore, elsewhere: ThreadStore) -> None:
    thread = Thread("t", title="é", metadata={"a": [1, {"b": None}]}, messages=[said("1"), said("2")])
    thread.set_context("tone", "kind")
    await store.save_thread(thread)

    await elsewhere.import_thread(await lines_of(store))

    assert (await elsewhere.get_thread("t")).to_json() == (await store.get_thread("t")).to_json()


async def test_a_place_that_retention_left_empty_stays_empty(store: ThreadStore, elsewhere: ThreadStore) -> None:
    await store.append("t", *(said(str(number)) for number in range(4)))
    gone = tables.messages.delete().where(tables.messages.c.seq.in_([1, 3]))
    await store.database.run_async(lambda connection: connection.execute(gone))

    await elsewhere.import_thread(await lines_of(store))
    await elsewhere.append("t", said("new"))

    assert [m.seq for m in (await elsewhere.get_thread("t")).messages] == [2, 4, 5]


async def test_files_go_by_their_hash_and_missing_ones_are_listed(store: ThreadStore, elsewhere: ThreadStore) -> None:
    files = [Attachment(filename="a.txt", content=b"a"), Attachment(filename="b.txt", content=b"b")]
    await store.append("t", said("1", attachments=files[:1]), said("2", attachments=files))
    lines = await lines_of(store)
    assert elsewhere.file_store is not None
    there = await elsewhere.file_store.save(b"b", "other name.txt")

    imported = await elsewhere.import_thread(lines)

    assert imported.blobs == tuple(sorted(str(Attachment(filename="x", content=c).sha256) for c in (b"a", b"b")))
    assert imported.missing_blobs == (Attachment(filename="x", content=b"a").sha256,)
    stored = (await elsewhere.get_thread("t")).messages[1].attachments
    assert [(f.filename, f.media_type, f.size) for f in stored] == [
        ("a.txt", "text/plain", 1),
        ("b.txt", "text/plain", 1),
    ]
    assert stored[1].sha256 == there.sha256
    assert imported.to_json()["messages"] == 2


async def test_a_thread_that_is_there_is_not_overwritten(store: ThreadStore) -> None:
    await store.append("t", said("1"))
    lines = await lines_of(store)
    await store.append("t", said("2"))

    with pytest.raises(InvalidInput, match=r"line 1: thread\.id: 't' is stored already; delete that thread"):
        await store.import_thread(lines)

    assert await contents(store) == ["1", "2"]
    await store.delete_thread("t")
    await store.import_thread(lines)
    assert await contents(store) == ["1"]


async def test_a_thread_can_arrive_under_another_id_beside_itself(store: ThreadStore) -> None:
    told = await store.database.run_async(tell)
    lines = await lines_of(store, "story")

    imported = await store.import_thread(lines, thread_id="copy")

    assert imported.thread_id == "copy"
    original, copy = await store.get_thread("story"), await store.get_thread("copy")
    assert [(m.id, m.seq, m.content) for m in copy.messages] == [(m.id, m.seq, m.content) for m in original.messages]
    assert told.completed_turn not in {m.turn_id for m in copy.messages}
    assert len(await contents(store, "copy")) == imported.messages
    with pytest.raises(InvalidInput, match="'copy' is stored already"):
        await store.import_thread(lines, thread_id="copy")


async def test_pages_are_put_together_without_a_gap(store: ThreadStore, elsewhere: ThreadStore) -> None:
    await store.append("t", *(said(str(number)) for number in range(2 * PAGE)))

    lines = await lines_of(store)
    await elsewhere.import_thread(line + "\n" for line in lines)

    assert len(lines) == 2 * PAGE + 2
    assert await contents(elsewhere) == [str(number) for number in range(2 * PAGE)]


async def test_an_export_shows_the_thread_as_it_was_at_its_first_line(
    store: ThreadStore, elsewhere: ThreadStore
) -> None:
    await store.append("t", *(said(str(number)) for number in range(PAGE + 1)))

    lines = []
    async for line in store.export_thread("t"):
        lines.append(line)
        if len(lines) == 1:
            await store.append("t", said("later"))

    await elsewhere.import_thread(lines)
    assert len(await contents(elsewhere)) == PAGE + 1


@pytest.mark.endurance
@pytest.mark.parametrize("kind", ["sqlite"])
async def test_no_more_than_a_page_is_in_memory(store: ThreadStore, elsewhere: ThreadStore) -> None:
    """10 MB go through; a page is 0.5 MB, as objects some more."""
    for number in range(10):
        await store.append("t", *(said(f"{number} ".ljust(2_000, "x")) for _ in range(500)))

    async def lines() -> AsyncIterator[str]:
        async for line in store.export_thread("t"):
            yield line

    tracemalloc.start()
    await elsewhere.import_thread(lines())
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert most < 8_000_000


async def test_an_unknown_thread_cannot_be_exported(store: ThreadStore) -> None:
    with pytest.raises(ThreadNotFound):
        await lines_of(store, "unknown")


async def test_messages_from_elsewhere_are_appended_and_every_change_is_told(store: ThreadStore) -> None:
    await store.append("t", said("before"))
    call = {"id": "a", "type": "function", "function": {"name": "add", "arguments": "{}"}}

    imported = await store.import_messages(
        "t", [{"role": "user", "content": "1"}, {"role": "assistant", "tool_calls": [call]}]
    )

    stored = (await store.get_thread("t")).messages
    assert [m.role for m in stored] == ["user", "user", "assistant", "tool"]
    assert imported.changes == ("call 'a' of add had no result; one that says so was added",)
    assert [m.seq for m in imported.thread.messages] == [2, 3, 4]
    assert stored[1].source == {"importer": "openai"}
    with pytest.raises(InvalidInput, match=r"messages\[1\]\.role"):
        await store.import_messages("t", [{"role": "user", "content": "2"}, {"role": "bot"}])
    assert len(await contents(store)) == 4


async def test_pictures_from_elsewhere_are_stored_as_files(store: ThreadStore, files: FileStore) -> None:
    data = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    part = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}

    await store.import_messages("t", [{"role": "user", "content": [part]}])

    [file] = (await store.get_thread("t")).messages[0].attachments
    assert (file.filename, file.media_type) == ("image-1.png", "image/png")
    assert (await files.get(file)).startswith(b"\x89PNG")


def exported_lines(connection: Connection, tenant: str, thread_id: str) -> list[dict[str, Any]]:
    export = Export(tenant, thread_id)
    pages = iter(lambda: export.read_next_page(connection), [])
    return [line for page in pages for line in page]


async def test_a_transaction_of_the_callers_can_export_and_import(store: ThreadStore) -> None:
    usage = Message(role="assistant", content="", usage=Usage(1, 2, 3), tool_calls=(ToolCall("a", "add", "{}"),))
    await store.append("t", said("1"), usage, Message(role="tool", tool_call_id="a", content="3"))

    def work(connection: Connection) -> list[dict[str, Any]]:
        lines = exported_lines(connection, "default", "t")
        import_thread(connection, lines, tenant="acme")
        return exported_lines(connection, "acme", "t")

    lines = await store.database.run_async(work)

    assert [line["kind"] for line in lines] == ["thread", "message", "message", "message", "end"]
    assert lines[0]["version"] == export.VERSION
    assert datetime.fromisoformat(lines[1]["created_at"]).tzinfo is not None
