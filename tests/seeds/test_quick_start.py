"""Quick start, storage backends, creating, saving and loading, message history."""

import asyncio
from datetime import UTC, datetime

import pytest

from tests.seeds.snippet import run
from tests.stub_openai import StubOpenAI
from threadmill import Agent, InvalidInput, Message, Thread, ThreadNotFound, ThreadStore

SQLITE = '"sqlite+aiosqlite:///conversations.db"'


async def said(store: ThreadStore, thread_id: str) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in (await store.get_thread(thread_id)).messages]


def user(text: str) -> Message:
    return Message(role="user", content=text)


async def test_the_quick_start_greets_somebody_new_and_then_an_old_friend(
    store_url: str, provider: StubOpenAI, capsys: pytest.CaptureFixture[str]
) -> None:
    start = await run("quick_start", repairs={SQLITE: repr(store_url)})
    agent, store, files = await start.create_agent_with_persistence()
    # In memory, the same store must be asked twice.
    given = {"create_agent_with_persistence": lambda: _again(agent, store, files)}
    start.main.__globals__.update(given)

    await start.main()
    thread = Thread(id="user-123-main")
    thread.add_message(user("Hello"))
    await agent.go(thread)
    await start.main()

    assert capsys.readouterr().out == "Nice to meet you!\nWelcome back!\n"
    assert await said(store, "user-123-main") == [("user", "Hello"), ("assistant", "All right.")]
    await store.close()


async def _again(*made: object) -> tuple[object, ...]:
    return made


async def test_a_bare_except_never_costs_the_stored_history(thread_store: ThreadStore) -> None:
    old = Thread(id="user-123-main", metadata={"plan": "gold"})
    for number in range(3):
        old.add_message(user(f"old {number}"))
    await thread_store.save_thread(old)

    # What the snippet's `except:` makes when, say, the network was away for a second.
    fresh = Thread(id="user-123-main", metadata={"seen": True})
    fresh.add_message(user("new"))
    await thread_store.save_thread(fresh)

    assert [text for _, text in await said(thread_store, old.id)] == ["old 0", "old 1", "old 2", "new"]
    stored = await thread_store.get_thread(old.id)
    assert (stored.metadata["plan"], stored.metadata["seen"]) == ("gold", True)


async def test_a_thread_that_is_not_stored_is_told_from_a_database_that_is_away(thread_store: ThreadStore) -> None:
    with pytest.raises(ThreadNotFound):
        await thread_store.get_thread("nobody")


async def test_of_two_callers_at_once_one_makes_the_thread(thread_store: ThreadStore) -> None:
    made = await asyncio.gather(*(thread_store.get_or_create_thread("user-1") for _ in range(2)))

    assert {thread.id for thread in made} == {"user-1"}
    assert await thread_store.count() == 1


async def test_every_spelling_of_an_address_opens_a_store(store_url: str) -> None:
    if "postgresql" in store_url:
        name, old = "storage_postgresql", '"postgresql+asyncpg://user:pass@localhost/dbname"'
    else:
        name, old = "storage_sqlite", '"sqlite+aiosqlite:///app.db"'

    opened = await run(name, repairs={old: repr(store_url)})

    async with opened.thread_store as store:
        assert await store.list_threads() == []


async def test_without_an_address_threads_live_in_memory() -> None:
    opened = await run("storage_memory")

    async with opened.thread_store as store:
        await store.save_thread(Thread(id="t"))
        assert store.is_in_memory
        assert await store.count() == 1


async def test_metadata_and_ids_are_kept(thread_store: ThreadStore) -> None:
    made = await run("creating_threads")
    await thread_store.save_thread(made.thread)

    stored = await thread_store.get_thread("project-research")

    assert stored.metadata["project"] == "quantum-computing"
    assert stored.metadata["created_by"] == "alice"
    assert Thread().id != Thread().id


def test_an_unknown_argument_is_an_error() -> None:
    with pytest.raises(TypeError, match="colour"):
        Thread(id="t", colour="red")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="colour"):
        Message(role="user", content="x", colour="red")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="colour"):
        Agent(name="a", colour="red")  # type: ignore[call-arg]


async def test_saving_loading_listing_and_deleting(thread_store: ThreadStore) -> None:
    await thread_store.append("thread-id", user("kept so far"))

    ran = await run("saving_and_loading", {"thread_store": thread_store, "thread": Thread(id="other")})

    assert [message.content for message in ran.thread.messages] == ["kept so far"]
    assert {thread.id for thread in ran.threads} == {"other", "thread-id"}
    assert {thread.id for thread in await thread_store.list_threads()} == {"other"}
    with pytest.raises(ThreadNotFound):
        await thread_store.get_thread("thread-id")


async def test_a_listing_sees_all_threads_and_loads_no_messages(thread_store: ThreadStore) -> None:
    batch = [Thread(id=f"t-{number}", messages=[user("hello")]) for number in range(130)]
    await thread_store.save_threads(batch)

    listed = await thread_store.list_threads()

    assert len(listed) == 130
    assert not any(thread.has_messages for thread in listed)
    with pytest.raises(Exception, match="get_thread"):
        _ = listed[0].messages


async def test_pages_lead_on_and_filters_choose(thread_store: ThreadStore) -> None:
    batch = [Thread(id=f"t-{n}", title=f"Case {n}", metadata={"even": n % 2 == 0}) for n in range(25)]
    await thread_store.save_threads(batch)

    seen: list[str] = []
    page = await thread_store.list_threads(limit=10)
    seen += [thread.id for thread in page]
    while page.next_cursor:
        page = await thread_store.list_threads(limit=10, cursor=page.next_cursor)
        seen += [thread.id for thread in page]

    assert sorted(seen) == sorted(thread.id for thread in batch)
    assert len(await thread_store.find_threads({"even": True})) == 13
    assert [thread.id for thread in await thread_store.list_threads(title="case 24")] == ["t-24"]


async def test_the_agent_sees_all_previous_messages(
    agent: Agent, provider: StubOpenAI, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = await run("message_history", {"agent": agent, "thread": Thread(id="capitals")})

    sent = [(m["role"], m["content"]) for m in provider.requests[0].body["messages"]]
    assert sent == [
        ("system", "To be helpful."),
        ("user", "What's the capital of France?"),
        ("assistant", "The capital of France is Paris."),
        ("user", "What about Germany?"),
    ]
    assert ran.result.content == "All right."
    assert ran.result.thread is ran.thread
    assert [m.role for m in ran.result.new_messages] == ["assistant"]
    assert ran.result.usage.total_tokens == 18
    assert ran.result.cost is not None
    assert ran.result.cost > 0
    assert "user: What about Germany?" in capsys.readouterr().out


async def test_an_agent_without_a_store_goes_on_where_the_thread_is_kept(
    provider: StubOpenAI, thread_store: ThreadStore
) -> None:
    agent = Agent(name="assistant", model_name="gpt-4")
    thread = await thread_store.append("t", user("first"))
    thread = await thread_store.get_thread("t")
    thread.add_message(user("second"))

    await agent.go(thread)

    assert await said(thread_store, "t") == [("user", "first"), ("user", "second"), ("assistant", "All right.")]


async def test_a_thread_of_one_store_can_be_saved_in_another(provider: StubOpenAI, thread_store: ThreadStore) -> None:
    thread = Thread(id="t", messages=[user("hello")])
    result = await Agent(name="assistant", model_name="gpt-4").go(thread)

    await thread_store.save_thread(result.thread)
    await thread_store.save_thread(result.thread)

    assert await said(thread_store, "t") == [("user", "hello"), ("assistant", "All right.")]
    assert [message.seq for message in result.thread.messages] == [1, 2]


async def test_edits_of_a_loaded_thread_are_saved_and_those_of_others_kept(thread_store: ThreadStore) -> None:
    await thread_store.save_thread(Thread(id="t", title="Old", metadata={"tags": ["a"], "gone": 1}))
    mine, theirs = await thread_store.get_thread("t"), await thread_store.get_thread("t")

    mine.metadata["tags"].append("b")
    del mine.metadata["gone"]
    mine.title = "New"
    theirs.metadata["note"] = "theirs"
    await thread_store.save_thread(theirs)
    await thread_store.save_thread(mine)

    stored = await thread_store.get_thread("t")
    assert stored.title == "New"
    assert stored.metadata["tags"] == ["a", "b"]
    assert stored.metadata["note"] == "theirs"
    assert "gone" not in stored.metadata


async def test_times_are_aware(thread_store: ThreadStore) -> None:
    before = datetime.now(UTC)
    await thread_store.save_thread(Thread(id="t"))

    stored = await thread_store.get_thread("t")

    assert stored.created_at.tzinfo is not None
    assert abs((stored.updated_at - before).total_seconds()) < 60


async def test_a_store_keeps_to_its_tenant(store_url: str) -> None:
    async with await ThreadStore.create(store_url, tenant="acme") as store:
        thread = await store.save_thread(Thread(id="t"))
        assert (await store.get_thread("t")).tenant == thread.tenant == "acme"
        with pytest.raises(InvalidInput, match="tenant"):
            await store.save_thread(Thread(id="t", tenant="other"))
