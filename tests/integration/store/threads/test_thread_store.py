"""Saving and loading: what one writer put in, every reader gets out, whoever writes beside it."""

import dataclasses
import json
from datetime import UTC, datetime, timedelta, timezone
from types import MappingProxyType
from typing import Any
from unittest.mock import ANY

import pytest

from conversation.attachment import Attachment
from conversation.errors import InvalidInput, MessagesNotLoaded, OperatorError, ThreadNotFound
from conversation.message import Message, ToolCall, Usage
from conversation.parts import FilePart, ImagePart, TextPart
from conversation.thread import Thread
from store.file_store import FileStore
from store.thread_store import ThreadStore
from tests.integration.store.threads.conftest import contents, said


async def test_a_message_is_read_back_with_everything_that_it_said(store: ThreadStore) -> None:
    east = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=timezone(timedelta(hours=9)))
    asks = Message(
        role="assistant",
        content="one moment — 一",
        tool_calls=(ToolCall("c1", "add", '{"a": 1}'),),
        reasoning="because",
        provider_fields={"family": "anthropic", "thinking_blocks": [{"type": "thinking", "b": 1.0, "a": "\x00é"}]},
        source={"model": "m", "nested": {"list": [1, None, True]}},
        metadata={"né": [1.5, "x"]},
        usage=Usage(3, 4, 1),
        created_at=east,
    )
    answers = Message(role="tool", tool_call_id="c1", name="add", content="3", state="partial")

    saved = await store.save_thread(Thread("t", title="A title", metadata={"k": 1}, messages=[asks, answers]))

    loaded = await store.get_thread("t")
    assert [dataclasses.asdict(m) for m in loaded.messages] == [dataclasses.asdict(m) for m in saved.messages]
    assert json.dumps(loaded.messages[0].provider_fields) == json.dumps(asks.provider_fields)
    assert [m.seq for m in loaded.messages] == [1, 2]
    assert loaded.messages[0].created_at == east
    assert (loaded.title, loaded.metadata["k"]) == ("A title", 1)
    assert loaded.created_at.utcoffset() == loaded.updated_at.utcoffset() == timedelta()
    assert abs(loaded.created_at - datetime.now(UTC)) < timedelta(minutes=1)


async def test_parts_are_kept_in_their_order_beside_the_text_that_is_searched(store: ThreadStore) -> None:
    message = said("")
    message.parts = (TextPart("look"), ImagePart("https://a.example/x.png"), FilePart("a.txt"), TextPart("end"))
    message.content = "look\n\nend"
    message.add_attachment(Attachment(filename="a.txt", content=b"text"))

    await store.save_thread(Thread("t", messages=[message]))

    [loaded] = (await store.get_thread("t")).messages
    assert loaded.parts == message.parts
    assert loaded.content == "look\n\nend"
    assert [(f.filename, f.size, f.media_type) for f in loaded.attachments] == [("a.txt", 4, "text/plain")]


async def test_an_attachments_bytes_are_stored_before_the_row_and_let_go(store: ThreadStore, files: FileStore) -> None:
    message = said("look", attachments=[Attachment(filename="a.txt", content=b"words")])

    await store.save_thread(Thread("t", messages=[message]))

    [stored] = (await store.get_thread("t")).messages[0].attachments
    assert await files.get(stored) == b"words"
    assert message.attachments[0].content is None


async def test_a_file_that_a_part_speaks_of_has_to_be_attached(store: ThreadStore) -> None:
    thread = Thread("t", messages=[Message(role="user", parts=(TextPart("see"), FilePart("a.txt")))])

    with pytest.raises(InvalidInput, match=r"parts: speak of 'a\.txt'"):
        await store.save_thread(thread)

    with pytest.raises(ThreadNotFound):
        await store.get_thread("t")


async def test_saving_appends_and_a_replaced_list_deletes_nothing(store: ThreadStore) -> None:
    thread = await store.save_thread(Thread("t", messages=[said("1"), said("2"), said("3")]))

    thread.messages = thread.messages[2:]
    thread.add_message(said("4"))
    await store.save_thread(thread)

    assert await contents(store) == ["1", "2", "3", "4"]
    assert [m.content for m in thread.messages] == ["3", "4"]


async def test_a_fresh_thread_with_a_stored_id_adds_to_it(store: ThreadStore) -> None:
    await store.save_thread(Thread("t", title="kept", metadata={"a": 1, "b": 1}, messages=[said("1")]))

    await store.save_thread(Thread("t", metadata={"b": 2}, messages=[said("2")]))

    stored = await store.get_thread("t")
    assert await contents(store) == ["1", "2"]
    assert stored.title == "kept"
    assert stored.metadata == {"a": 1, "b": 2, "last_updated": ANY}


@pytest.mark.parametrize(("was", "is_"), [(True, 1), (0, False), ([1.0], [True]), ({"a": 0}, {"a": False})])
async def test_a_value_of_another_kind_that_python_calls_equal_is_written(
    store: ThreadStore, was: Any, is_: Any
) -> None:
    thread = await store.save_thread(Thread("t", metadata={"k": was}))

    thread.metadata["k"] = is_
    await store.save_thread(thread)

    assert repr((await store.get_thread("t")).metadata["k"]) == repr(is_)


async def test_metadata_may_hold_any_mapping(store: ThreadStore) -> None:
    thread = await store.save_thread(Thread("t", metadata={"k": MappingProxyType({"a": 1})}))
    assert (await store.get_thread("t")).metadata["k"] == {"a": 1}

    thread.metadata["k"] = MappingProxyType({"a": 2})
    await store.save_thread(thread)

    assert (await store.get_thread("t")).metadata["k"] == {"a": 2}


async def test_a_stored_message_cannot_be_changed(store: ThreadStore) -> None:
    thread = await store.save_thread(Thread("t", messages=[said("1")]))

    with pytest.raises(AttributeError, match="content: a stored message cannot be changed"):
        thread.messages[0].content = "other"
    with pytest.raises(AttributeError, match="attachments: a stored message cannot be changed"):
        thread.messages[0].add_attachment(Attachment(filename="a", content=b"1"))


async def test_a_title_can_be_taken_away(store: ThreadStore) -> None:
    thread = await store.save_thread(Thread("t", title="old"))

    thread.title = None
    await store.save_thread(thread)

    assert (await store.get_thread("t")).title is None


async def test_more_messages_than_one_statement_has_room_for_are_saved(store: ThreadStore) -> None:
    await store.append("t", *(said(str(number)) for number in range(4_000)))

    assert await contents(store) == [str(number) for number in range(4_000)]


async def test_the_newest_messages_can_be_loaded_alone(store: ThreadStore) -> None:
    await store.append("t", *(said(str(number)) for number in range(10)))

    some = await store.get_thread("t", last=3)
    some.add_message(said("10"))
    await store.save_thread(some)

    assert [m.content for m in some.messages] == ["7", "8", "9", "10"]
    assert len(await contents(store)) == 11
    assert len((await store.get_thread("t", last=99)).messages) == 11


@pytest.mark.parametrize("kind", ["memory"])
@pytest.mark.parametrize("last", [0, -1, True, "3"])
async def test_how_many_to_load_is_checked(store: ThreadStore, last: object) -> None:
    await store.append("t", said("1"))

    with pytest.raises(InvalidInput, match="last: is"):
        await store.get_thread("t", last=last)  # type: ignore[arg-type]


async def test_an_unknown_thread_is_an_error_of_its_own(store: ThreadStore) -> None:
    with pytest.raises(ThreadNotFound, match="no thread 'x' is stored for tenant 'default'"):
        await store.get_thread("x")


async def test_get_or_create_gives_what_is_stored(store: ThreadStore) -> None:
    made = await store.get_or_create_thread("t", title="first", messages=[said("1")])

    again = await store.get_or_create_thread("t", title="second")

    assert [m.content for m in made.messages] == [m.content for m in again.messages] == ["1"]
    assert again.title == "first"


async def test_a_copy_that_was_sent_as_json_is_not_stored_twice(store: ThreadStore) -> None:
    thread = await store.save_thread(Thread("t", title="x", messages=[said("1")]))

    received = Thread.from_json(thread.to_json())
    received.add_message(said("2"))
    await store.save_thread(received)

    assert await contents(store) == ["1", "2"]


async def test_a_copy_of_another_store_is_stored_whole(store: ThreadStore) -> None:
    async with await ThreadStore.create("sqlite://") as elsewhere:
        thread = await elsewhere.save_thread(Thread("t", messages=[said("1")]))
        received = Thread.from_json(thread.to_json())

        await store.save_thread(received)
        await store.save_thread(thread)

    assert await contents(store) == ["1"]


@pytest.mark.parametrize("kind", ["memory"])
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("title", "x" * 501),
        ("title", "a\x00b"),
        ("title", 7),
        ("metadata", {"when": datetime.now(UTC)}),
        ("metadata", ["list"]),
        ("messages", ["text"]),
    ],
)
async def test_what_was_set_to_nonsense_is_refused_by_its_name(store: ThreadStore, field: str, value: object) -> None:
    async def save() -> None:
        thread = Thread("t")
        setattr(thread, field, value)
        await store.save_thread(thread)

    with pytest.raises(InvalidInput, match=f"^{field}"):
        await save()

    assert await store.count() == 0


async def test_a_message_that_was_set_to_nonsense_is_refused(store: ThreadStore) -> None:
    message = said("1")
    message.content = None  # type: ignore[assignment]

    with pytest.raises(InvalidInput, match="content: is NoneType"):
        await store.append("t", message)


async def test_a_listed_thread_has_no_messages_and_can_be_edited(store: ThreadStore) -> None:
    await store.save_thread(Thread("t", metadata={"a": 1}, messages=[said("1")]))
    [listed] = await store.list_threads()

    with pytest.raises(MessagesNotLoaded, match="load it with get_thread"):
        _ = listed.messages
    listed.metadata["b"] = 2
    listed.title = "new"
    await store.save_thread(listed)

    assert await contents(store) == ["1"]
    assert (await store.get_thread("t")).metadata == {"a": 1, "b": 2, "last_updated": ANY}


async def test_what_is_stored_outlives_the_store_that_is_a_file(kind: str, store_url: str) -> None:
    async with await ThreadStore.create(store_url) as first:
        await first.append("t", said("1"))

    async with await ThreadStore.create(store_url) as second:
        found = [thread.id for thread in await second.list_threads()]

    assert found == ([] if kind == "memory" else ["t"])


async def test_a_postgresql_without_our_schema_is_refused(empty_database_url: str) -> None:
    with pytest.raises(OperatorError, match=r"schema is not there, this release needs .*threadmill migrate"):
        await ThreadStore.create(empty_database_url)


async def test_tenants_see_their_own_threads_only(store: ThreadStore, store_url: str, kind: str) -> None:
    if kind == "memory":
        return
    async with await ThreadStore.create(store_url, tenant="acme") as acme:
        await store.append("t", said("ours"))
        await acme.append("t", said("theirs"))

        assert (await contents(store), await contents(acme)) == (["ours"], ["theirs"])
        assert await acme.delete_thread("t")
        assert (await store.count(), await acme.count()) == (1, 0)
        assert (await acme.stats()).threads == 0
