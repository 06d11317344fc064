"""SQLite: reads wait for no writer, and a database in memory is one for every event loop and thread."""

import asyncio
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Connection, insert, select, text

from conversation.errors import DatabaseRefused, DatabaseUnavailable
from conversation.message import Message
from conversation.thread import Thread
from store import tables
from store.database.engine import Database
from store.database.sqlite import read_only
from store.settings import load
from store.thread_store import ThreadStore
from threadmill import Agent

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture
def written_to(sqlite_url: str) -> Iterator[str]:
    """The URL of a database that was used before, while another process writes to it."""
    asyncio.run(open_once(sqlite_url))
    with closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        yield sqlite_url


async def open_once(url: str) -> None:
    await (await ThreadStore.create(url)).close()


async def test_reads_wait_for_no_writer(written_to: str) -> None:
    settings = load(database_url=written_to, db_statement_timeout_seconds=0.5)
    store = ThreadStore(settings)

    assert list(await store.list_threads()) == []
    assert await store.count() == 0
    assert await store.search_messages("word") == []
    assert (await store.stats()).threads == 0
    with pytest.raises(DatabaseUnavailable, match="locked"):
        await store.append("t", Message(role="user", content="hello"))
    await store.close()


def add_agent(connection: Connection, name: str) -> None:
    connection.execute(insert(tables.agents).values(name=name, version="1", registered_at=LONG_AGO))


def agent_names(connection: Connection) -> list[str]:
    return list(connection.execute(select(tables.agents.c.name)).scalars())


@read_only
def write_nevertheless(connection: Connection) -> None:
    connection.execute(text("DELETE FROM agents"))


def test_an_operation_that_was_declared_to_read_cannot_write(sqlite_url: str) -> None:
    database = Database(load(database_url=sqlite_url, db_pool_size=1, db_max_overflow=0))

    with pytest.raises((DatabaseRefused, DatabaseUnavailable), match="readonly"):
        database.run(write_nevertheless)

    database.run(lambda connection: connection.execute(text("DELETE FROM agents")))
    database.close()


def said(thread: Thread, words: str) -> Thread:
    thread.add_message(Message(role="user", content=words))
    return thread


def test_an_agent_without_a_store_remembers_from_one_event_loop_to_the_next() -> None:
    agent, thread = Agent(name="a"), Thread("t")

    asyncio.run(agent.go(said(thread, "The key is under the mat.")))
    result = asyncio.run(agent.go(said(thread, "Where is the key?")))

    assert "under the mat" in result.content


def test_a_store_in_memory_is_one_for_loops_in_several_threads() -> None:
    store = asyncio.run(ThreadStore.create("sqlite://"))
    seen: list[str] = []

    def work(number: int) -> None:
        async def talk() -> None:
            for turn in range(5):
                await store.append("t", Message(role="user", content=f"{number}-{turn}"))

        asyncio.run(talk())

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    messages = asyncio.run(store.get_thread("t")).messages
    seen = [message.content for message in messages]
    asyncio.run(store.close())

    assert sorted(seen) == sorted(f"{number}-{turn}" for number in range(4) for turn in range(5))
    assert [message.seq for message in messages] == list(range(1, 21))


async def test_a_tool_without_a_loop_of_its_own_asks_another_agent() -> None:
    """A synchronous tool runs in a thread, where `asyncio.run` makes a loop of its own."""
    store = await ThreadStore.create("sqlite://")
    await store.append("t", Message(role="user", content="hello"))

    loaded = await asyncio.to_thread(lambda: asyncio.run(store.get_thread("t")))

    assert [message.content for message in loaded.messages] == ["hello"]
    await store.close()


async def test_what_was_begun_when_its_caller_was_cancelled_is_finished_before_the_close(tmp_path: Path) -> None:
    database = Database(load(database_url=f"sqlite:///{tmp_path}/t.db"))
    database.run(tables.metadata.create_all)
    begun = threading.Event()

    def add_slowly(connection: Connection) -> None:
        begun.set()
        add_agent(connection, "late")

    call = asyncio.create_task(database.run_async(add_slowly))
    await asyncio.to_thread(begun.wait, 10)
    call.cancel()
    await database.close_async()

    assert database.run(agent_names) == ["late"]
    database.close()
