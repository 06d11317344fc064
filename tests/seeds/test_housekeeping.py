"""Thread names, metadata, cleanup, batch saves and the cache that is not needed."""

import asyncio
from datetime import datetime, timedelta

import pytest
from sqlalchemy import update

from store import tables
from tests.seeds.snippet import run
from threadmill import Message, Thread, ThreadNotFound, ThreadStore

CLEANUP_IMPORTS = {
    "async def cleanup_old_threads": ("from datetime import datetime, timedelta\n\nasync def cleanup_old_threads")
}


def user(text: str) -> Message:
    return Message(role="user", content=text)


async def age(store: ThreadStore, thread_id: str, days: int) -> None:
    """Make a thread as old as if nobody had touched it since."""
    then = datetime.now().astimezone() - timedelta(days=days)
    touched = update(tables.threads).where(tables.threads.c.id == thread_id).values(updated_at=then)
    await store.database.run_async(lambda connection: connection.execute(touched))


@pytest.mark.parametrize(
    "name", ["user-123-main", "support-ticket-456", "research-2024-01-15", "user-alice@example.com"]
)
async def test_names_that_people_choose_are_ids(name: str, thread_store: ThreadStore) -> None:
    await thread_store.save_thread(Thread(id=name))

    assert (await thread_store.get_thread(name)).id == name


async def test_metadata_comes_back_and_finds_threads(thread_store: ThreadStore) -> None:
    made = await run("metadata", {"datetime": datetime})
    await thread_store.save_thread(made.thread)

    (found,) = await thread_store.find_threads({"priority": "high", "issue_type": "billing"})

    assert found.metadata["customer_id"] == "cust-123"
    assert datetime.fromisoformat(found.metadata["created_at"]).tzinfo is None
    # The snippet's own time has no zone; the thread's own does.
    assert found.created_at.tzinfo is not None


async def test_the_cleanup_loop_deletes_old_threads_and_no_others(thread_store: ThreadStore) -> None:
    await thread_store.save_threads([Thread(id=f"t-{n}", messages=[user("hi")]) for n in range(120)])
    for number in range(0, 120, 10):
        await age(thread_store, f"t-{number}", days=40)

    pattern = await run("cleanup", repairs=CLEANUP_IMPORTS)
    await pattern.cleanup_old_threads(thread_store, days=30)

    left = {thread.id for thread in await thread_store.list_threads()}
    assert left == {f"t-{n}" for n in range(120) if n % 10}


async def test_last_updated_follows_every_save(thread_store: ThreadStore) -> None:
    thread = await thread_store.save_thread(Thread(id="t", metadata={"last_updated": "never"}))
    first = thread.metadata["last_updated"]
    await asyncio.sleep(0.01)

    await thread_store.append("t", user("hello"))

    (listed,) = await thread_store.list_threads()
    assert first < listed.metadata["last_updated"] < datetime.now().astimezone().isoformat()[:4] + "~"
    assert datetime.fromisoformat(listed.metadata["last_updated"]) == listed.updated_at


async def test_a_gathered_batch_is_saved_and_so_is_one_thread_saved_many_times(thread_store: ThreadStore) -> None:
    given = {f"thread{n}": Thread(id=f"t-{n}", messages=[user("hi")]) for n in (1, 2, 3)}
    await run("batch", {"thread_store": thread_store, "asyncio": asyncio, **given})
    assert await thread_store.count() == 3

    copies = [await thread_store.get_thread("t-1") for _ in range(5)]
    for number, copy in enumerate(copies):
        copy.add_message(user(f"copy {number}"))
    await asyncio.gather(*(thread_store.save_thread(copy) for copy in copies))
    await asyncio.gather(*(thread_store.save_thread(copies[0]) for _ in range(5)))

    stored = (await thread_store.get_thread("t-1")).messages
    assert sorted(m.content for m in stored) == [*(f"copy {n}" for n in range(5)), "hi"]
    assert [m.seq for m in stored] == sorted({m.seq for m in stored})


async def test_one_object_that_is_saved_many_times_at_once_says_everything_once(thread_store: ThreadStore) -> None:
    thread = Thread(id="t", messages=[user("a"), user("b")])

    await asyncio.gather(*(thread_store.save_thread(thread) for _ in range(5)))

    stored = (await thread_store.get_thread("t")).messages
    assert [(m.content, m.seq) for m in stored] == [("a", 1), ("b", 2)]


async def test_a_batch_is_saved_as_a_whole_or_not_at_all(thread_store: ThreadStore) -> None:
    await thread_store.save_thread(Thread(id="t-2", title="Old"))
    mine = await thread_store.get_thread("t-2")
    theirs = await thread_store.get_thread("t-2")
    theirs.title = "Theirs"
    await thread_store.save_thread(theirs)
    mine.title = "Mine"
    fresh = Thread(id="t-1", messages=[user("hi")])

    with pytest.raises(Exception, match="title"):
        await thread_store.save_threads([fresh, mine], check_title=True)

    with pytest.raises(ThreadNotFound):
        await thread_store.get_thread("t-1")
    assert fresh.messages[0].seq is None
    await thread_store.save_threads([fresh])
    assert (await thread_store.get_thread("t-1")).messages[0].content == "hi"


async def test_a_cache_around_an_async_function_breaks_on_its_second_use(thread_store: ThreadStore) -> None:
    """Why the documentation calls the pattern unnecessary: it caches the coroutine, not the thread."""
    await thread_store.append("t", user("hi"))
    pattern = await run("caching", {"thread_store": thread_store})
    await pattern.get_cached_thread("t")

    with pytest.raises(RuntimeError, match="already awaited"):
        await pattern.get_cached_thread("t")


async def test_loading_without_a_cache_sees_what_others_wrote(thread_store: ThreadStore) -> None:
    await thread_store.save_thread(Thread(id="t", messages=[user("first")]))
    assert len((await thread_store.get_thread("t")).messages) == 1

    await thread_store.append("t", user("from elsewhere"))

    assert (await thread_store.get_thread("t", last=1)).messages[0].content == "from elsewhere"
