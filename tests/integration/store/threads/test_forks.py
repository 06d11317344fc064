"""Forking and deleting threads: what is shared is copied nowhere, and only their thread goes with its rows."""

import asyncio
from functools import partial

import pytest
from sqlalchemy import func, select, update

from conversation.attachment import Attachment
from conversation.errors import InvalidInput, LeaseLost, ThreadNotFound, ThreadUnderLegalHold
from conversation.ids import new_id
from conversation.message import Message, ToolCall
from conversation.thread import Thread
from conversation.turn import ClaimedTurn, Completed, TurnState
from store import tables
from store.file_store import FileStore
from store.thread_store import ThreadStore
from store.turns import claims, inbox, workers
from store.turns import settle as turns
from store.turns.claims import ClaimRequest
from store.turns.send_request import SendRequest
from tests.integration.store.threads.conftest import contents, said, statements

pytestmark = pytest.mark.soak


def block(calls: int = 2) -> list[Message]:
    ids = [f"c{number}" for number in range(calls)]
    return [
        Message(role="assistant", tool_calls=tuple(ToolCall(id_, "add", "{}") for id_ in ids)),
        *(Message(role="tool", tool_call_id=id_, name="add", content="1") for id_ in ids),
    ]


async def test_a_fork_has_the_history_up_to_its_place_and_goes_its_own_way(
    store: ThreadStore, files: FileStore
) -> None:
    source = Thread("t", title="x", metadata={"a": 1}, messages=[said("1"), *block(), said("2"), said("3")])
    source.messages[0].add_attachment(Attachment(filename="a.txt", content=b"words"))
    source.set_context("tone", "kind")
    await store.save_thread(source)

    branch = await store.fork("t", at=4, new_thread_id="b")
    branch.add_message(said("other"))
    await store.save_thread(branch)

    stored = await store.get_thread("b")
    assert [m.id for m in stored.messages[:4]] == [m.id for m in source.messages[:4]]
    assert [m.content for m in stored.messages] == ["1", "", "1", "1", "other"]
    assert (stored.title, stored.metadata["a"], stored.context) == ("x", 1, {"tone": "kind"})
    assert len(await contents(store, "t")) == 6
    assert await files.get(stored.messages[0].attachments[0]) == b"words"
    assert (await store.stats()).blobs == 1


async def test_a_fork_takes_as_many_statements_however_long_the_history_is(store: ThreadStore) -> None:
    counted = []
    for length in (10, 2_000):
        await store.append(f"t{length}", *(said(str(number)) for number in range(length)))
        with statements(store) as seen:
            await store.fork(f"t{length}", new_thread_id=f"b{length}")
        counted.append(seen)
        assert len(await contents(store, f"b{length}")) == length

    # What is far behind the summary is estimated, which takes one less.
    assert len(counted[1]) <= len(counted[0])
    assert not any(statement.startswith("INSERT INTO messages ") for statement in counted[1])


async def test_a_fork_of_a_fork_without_messages_can_begin_anew(store: ThreadStore) -> None:
    await store.append("t", said("1"))

    empty = await store.fork("t", at=0)

    assert empty.messages == []
    assert empty.id != "t"


async def test_a_fork_is_loaded_with_its_newest_messages_alone_where_that_is_asked(store: ThreadStore) -> None:
    await store.append("t", *map(said, "123456"))

    branch = await store.fork("t", at=5, new_thread_id="b", last=2)
    branch.add_message(said("other"))
    await store.save_thread(branch)

    assert [m.content for m in branch.messages] == ["4", "5", "other"]
    assert [m.content for m in (await store.get_thread("b")).messages] == ["1", "2", "3", "4", "5", "other"]


@pytest.mark.parametrize("at", [2, 3, 160])
async def test_a_fork_inside_a_block_of_tool_calls_is_refused(store: ThreadStore, at: int) -> None:
    await store.append("t", said("1"), *block(200), said("2"))

    with pytest.raises(InvalidInput, match=f"at: {at} parts a tool call from its result"):
        await store.fork("t", at=at, new_thread_id="b")

    assert await store.count() == 1
    assert len((await store.fork("t", at=202)).messages) == 202


@pytest.mark.parametrize("at", [-1, 3, "1"])
async def test_a_fork_where_nothing_is_is_refused(store: ThreadStore, at: object) -> None:
    await store.append("t", said("1"), said("2"))

    with pytest.raises(InvalidInput, match=r"at: is .*; pass a seq from 0 to 2"):
        await store.fork("t", at=at)  # type: ignore[arg-type]


async def test_a_fork_of_nothing_and_onto_something_is_refused(store: ThreadStore) -> None:
    await store.append("t", said("1"))
    await store.append("b", said("2"))

    with pytest.raises(ThreadNotFound):
        await store.fork("unknown")
    with pytest.raises(InvalidInput, match="new_thread_id: 'b' is the id of a thread already"):
        await store.fork("t", new_thread_id="b")
    with pytest.raises(InvalidInput, match="new_thread_id: holds white space"):
        await store.fork("t", new_thread_id="a b")

    assert (await contents(store, "t"), await contents(store, "b")) == (["1"], ["2"])


async def test_a_deleted_thread_leaves_nothing_but_its_blobs(store: ThreadStore, files: FileStore) -> None:
    message = said("find me", attachments=[Attachment(filename="a.txt", content=b"words")])
    thread = Thread("t", messages=[message])
    thread.set_context("tone", "kind")
    await store.save_thread(thread)
    await store.append("other", said("stays"))

    assert await store.delete_thread("t") is True
    assert await store.delete_thread("t") is False

    rows = await store.database.run_async(
        lambda connection: {
            table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in (tables.threads, tables.messages, tables.thread_context, tables.attachments, tables.blobs)
        }
    )
    assert rows == {"threads": 1, "messages": 1, "thread_context": 0, "attachments": 0, "blobs": 1}
    assert await store.search_messages("find") == []
    assert await files.list() == (message.attachments[0].sha256,)


async def test_a_thread_under_legal_hold_is_not_deleted(store: ThreadStore) -> None:
    await store.append("t", said("1"))
    await store.database.run_async(
        lambda connection: connection.execute(update(tables.threads).values(legal_hold=True))
    )

    with pytest.raises(ThreadUnderLegalHold, match="'t' under legal hold; release the hold first"):
        await store.delete_thread("t")

    assert await contents(store) == ["1"]


async def test_a_thread_that_is_deleted_under_a_running_turn_stays_deleted(store: ThreadStore) -> None:
    claimed = await _running_turn(store)

    await store.delete_thread("t")

    late = Completed(messages=(Message(role="assistant", content="too late"),))
    settle = partial(turns.settle, lease=claimed.lease, turn_id=claimed.id, ending=late, release=True)
    with pytest.raises(LeaseLost, match="no longer stored"):
        await store.database.run_async(settle)
    await store.append("t", said("anew"))
    assert await contents(store) == ["anew"]


async def test_what_a_library_caller_appends_beside_a_running_turn_stands_before_its_reply(store: ThreadStore) -> None:
    claimed = await _running_turn(store)

    await asyncio.gather(*(store.append("t", said(f"aside {number}")) for number in range(3)))
    reply = Completed(messages=(Message(role="assistant", content="answer"),))
    await store.database.run_async(turns.settle, lease=claimed.lease, turn_id=claimed.id, ending=reply, release=True)

    said_there = await contents(store)
    assert (said_there[0], said_there[-1]) == ("question", "answer")
    assert sorted(said_there[1:-1]) == ["aside 0", "aside 1", "aside 2"]
    assert (await store.stats()).turns == {TurnState.COMPLETED: 1}


async def _running_turn(store: ThreadStore) -> ClaimedTurn:
    worker, turn_id = new_id(), new_id()
    request = SendRequest(turn_id=turn_id, tenant="default", thread_id="t", message=said("question"), agent="assistant")
    claimant = ClaimRequest(worker=worker, agents={"assistant": "1"})
    await store.database.run_async(
        workers.register, host="h", pid=1, serves={"assistant": "1"}, lease_duration_seconds=60, worker=worker
    )
    await store.database.run_async(inbox.accept, request=request)
    claimed = await store.database.run_async(claims.claim, tenant="default", thread_id="t", claimant=claimant)
    assert isinstance(claimed, ClaimedTurn)
    return claimed
