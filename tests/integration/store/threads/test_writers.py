"""Many writers of one thread: nothing is lost, each key goes to its last writer, and all is in one order."""

import asyncio
import dataclasses
from unittest.mock import ANY

import pytest

from conversation.errors import TitleConflict
from conversation.thread import Thread
from store.thread_store import ThreadStore
from store.threads import repository
from tests.integration.store.threads.conftest import OpenStore, contents, said

pytestmark = pytest.mark.soak


async def test_running_a_save_again_changes_nothing(store: ThreadStore) -> None:
    """The commit's answer was lost: the same copy is saved once more, with the same ids."""
    thread = Thread("t", title="x", metadata={"a": 1}, messages=[said("1"), said("2")])
    new = thread.new_messages

    first = await store.database.run_async(lambda connection: repository.save(connection, thread, new=new))
    again = await store.database.run_async(lambda connection: repository.save(connection, thread, new=new))

    assert again.seqs == first.seqs
    same = dict(again.row._mapping) | {"updated_at": None}
    assert same == dict(first.row._mapping) | {"updated_at": None}
    assert await contents(store) == ["1", "2"]


async def test_of_messages_saved_twice_only_the_new_ones_get_a_place(store: ThreadStore) -> None:
    old, new = said("1"), said("2")
    await store.append("t", old)

    await store.save_thread(Thread("t", messages=[dataclasses.replace(old, seq=None), new]))

    stored = await store.get_thread("t")
    assert [m.id for m in stored.messages] == [old.id, new.id]
    assert stored.loaded is not None
    assert stored.loaded.last_seq == stored.messages[-1].seq


async def test_the_messages_of_two_writers_are_both_kept_in_one_order(open_store: OpenStore) -> None:
    one, other = await open_store(), await open_store()
    await one.save_thread(Thread("t", messages=[said("1")]))
    mine, yours = await one.get_thread("t"), await other.get_thread("t")

    mine.add_message(said("mine"))
    yours.add_message(said("yours"))
    await one.save_thread(mine)
    await other.save_thread(yours)

    assert await contents(one) == ["1", "mine", "yours"]
    assert [m.seq for m in (await one.get_thread("t")).messages] == [1, 2, 3]


async def test_twenty_writers_at_once_lose_nothing(open_store: OpenStore) -> None:
    stores = [await open_store() for _ in range(4)]

    async def write(number: int) -> None:
        await stores[number % 4].save_thread(Thread("t", metadata={f"k{number}": number}, messages=[said(str(number))]))

    await asyncio.gather(*(write(number) for number in range(20)))

    stored = await stores[0].get_thread("t")
    assert sorted(int(m.content) for m in stored.messages) == list(range(20))
    assert [m.seq for m in stored.messages] == list(range(1, 21))
    assert {f"k{n}": n for n in range(20)}.items() <= stored.metadata.items()


async def test_metadata_is_merged_by_key_and_the_last_writer_of_a_key_wins(store: ThreadStore) -> None:
    await store.save_thread(Thread("t", metadata={"a": 0, "b": 0, "gone": 0, "deep": {"x": 0}}))
    mine, yours = await store.get_thread("t"), await store.get_thread("t")

    mine.metadata |= {"a": 1, "both": "mine"}
    mine.metadata["deep"]["x"] = 1
    del mine.metadata["gone"]
    yours.metadata |= {"b": 2, "both": "yours"}
    await store.save_thread(mine)
    await store.save_thread(yours)

    stored = (await store.get_thread("t")).metadata
    assert stored == {"a": 1, "b": 2, "both": "yours", "deep": {"x": 1}, "last_updated": ANY}


async def test_a_title_of_two_writers_is_a_conflict_only_when_asked_for(store: ThreadStore) -> None:
    await store.save_thread(Thread("t", title="old"))
    mine, yours, third = [await store.get_thread("t") for _ in range(3)]
    mine.title, yours.title, third.title = "mine", "yours", "third"
    third.add_message(said("lost"))
    await store.save_thread(mine)

    with pytest.raises(TitleConflict, match="another writer made it 'mine'"):
        await store.save_thread(third, check_title=True)
    await store.save_thread(yours)

    stored = await store.get_thread("t")
    assert (stored.title, stored.messages) == ("yours", [])


async def test_a_copy_that_did_not_touch_the_title_leaves_anothers(store: ThreadStore) -> None:
    await store.save_thread(Thread("t", title="old"))
    mine, yours = await store.get_thread("t"), await store.get_thread("t")
    mine.title = "new"
    await store.save_thread(mine)

    await store.save_thread(yours, check_title=False)
    await store.append("t", said("more"))

    assert (await store.get_thread("t")).title == "new"
    assert yours.title == "new"


async def test_context_is_kept_by_key_and_a_stale_copy_reverts_nothing(store: ThreadStore) -> None:
    first = Thread("t")
    first.set_context("tone", "kind")
    first.set_context("place", "here")
    await store.save_thread(first)
    mine, stale = await store.get_thread("t"), await store.get_thread("t")

    mine.set_context("tone", "short")
    mine.set_context("place", None)
    await store.save_thread(mine)
    stale.set_context("more", "yes")
    await store.save_thread(stale)

    assert (await store.get_thread("t")).context == {"tone": "short", "more": "yes"}


async def test_a_batch_is_saved_whole_or_not_at_all(store: ThreadStore) -> None:
    await store.save_thread(Thread("b", title="old"))
    taken = await store.get_thread("b")
    await store.save_thread(Thread("b", title="new"))
    taken.title = "mine"

    with pytest.raises(TitleConflict):
        await store.save_threads([Thread("a", messages=[said("1")]), taken, Thread("c")], check_title=True)
    await store.save_threads([Thread("d", messages=[said("1")]), Thread("e")])

    assert {thread.id for thread in await store.list_threads()} == {"b", "d", "e"}


async def test_two_batches_in_opposite_orders_do_not_wait_for_each_other(open_store: OpenStore) -> None:
    one, other = await open_store(), await open_store()
    names = [f"t{number}" for number in range(10)]

    await asyncio.gather(
        *(one.save_threads([Thread(n, messages=[said("1")]) for n in names]) for _ in range(3)),
        *(other.save_threads([Thread(n, messages=[said("2")]) for n in reversed(names)]) for _ in range(3)),
    )

    assert [len(await contents(one, name)) for name in names] == [6] * 10


async def test_of_twenty_callers_at_once_one_makes_the_thread(open_store: OpenStore) -> None:
    stores = [await open_store() for _ in range(4)]

    found = await asyncio.gather(
        *(stores[n % 4].get_or_create_thread("t", title=f"by {n}", metadata={"by": n}) for n in range(20))
    )

    stored = await stores[0].get_thread("t")
    assert {(thread.title, thread.metadata["by"]) for thread in found} == {(stored.title, stored.metadata["by"])}
    assert await stores[0].count() == 1
