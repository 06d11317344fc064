"""A thread store of each kind: in memory, in a file, in PostgreSQL. One suite holds them to one behaviour."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection, event

from conversation.message import Message
from store.file_store import FileStore
from store.thread_store import ThreadStore

#: Opens the database of this test once more, as another process would.
OpenStore = Callable[[], Awaitable[ThreadStore]]


@pytest.fixture(params=[pytest.param("memory", marks=pytest.mark.soak), "sqlite", "postgresql"])
def kind(request: pytest.FixtureRequest) -> str:
    """Where this run of the suite keeps its threads."""
    found: str = request.param
    return found


@pytest.fixture
def store_url(kind: str, request: pytest.FixtureRequest) -> str:
    """A database of this test's own."""
    if kind == "memory":
        return "sqlite://"
    url: str = request.getfixturevalue("sqlite_url" if kind == "sqlite" else "database_url")
    return url


@pytest.fixture
async def files(tmp_path: Path) -> FileStore:
    return await FileStore.create(tmp_path / "files")


@pytest.fixture
async def store(store_url: str, files: FileStore) -> AsyncIterator[ThreadStore]:
    """An empty store."""
    async with await ThreadStore.create(store_url, file_store=files) as opened:
        yield opened


@pytest.fixture
async def open_store(kind: str, store_url: str, store: ThreadStore) -> AsyncIterator[OpenStore]:
    """Opens the same database for one writer more; what is in memory has one store only."""
    opened: list[ThreadStore] = []

    async def open_one() -> ThreadStore:
        if kind == "memory":
            return store
        opened.append(await ThreadStore.create(store_url))
        return opened[-1]

    yield open_one
    for one in opened:
        await one.close()


@contextmanager
def statements(store: ThreadStore) -> Iterator[list[str]]:
    """The statements that the store sends meanwhile, aside from those that begin and end its transactions."""
    seen: list[str] = []

    def note(connection: Connection, cursor: object, statement: str, *_: object) -> None:
        seen.append(statement)

    database = store.database
    engine = database.engine if database.is_sqlite else database.async_engine.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    yield seen
    event.remove(engine, "before_cursor_execute", note)
    seen[:] = [statement for statement in seen if not statement.startswith(("BEGIN", "PRAGMA"))]


def said(content: str, role: str = "user", **values: object) -> Message:
    return Message(role=role, content=content, **values)  # type: ignore[arg-type]


async def contents(store: ThreadStore, thread_id: str = "t") -> list[str]:
    """What is stored, in order."""
    return [message.content for message in (await store.get_thread(thread_id)).messages]


async def lines_of(store: ThreadStore, thread_id: str = "t") -> list[str]:
    """An export of a thread."""
    return [line async for line in store.export_thread(thread_id)]
