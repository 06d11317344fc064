"""How a gateway goes by what it read of a key: for how long, with how many statements, and what it writes when."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event, update
from structlog.testing import capture_logs

from conversation.errors import DatabaseUnavailable
from producers.http import expiring_cache, key_access
from producers.http.key_access import KeyAccess
from store.database.engine import Database
from store.keys.key_rows import KeyRequest, create_key, list_keys, revoke_key
from store.keys.key_text import ApiKey, make_key
from store.settings import load
from store.tables import api_keys

CACHE_SECONDS = 5


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    moved = Clock()
    monkeypatch.setattr(expiring_cache, "time", moved)
    monkeypatch.setattr(key_access, "COLLECT_SECONDS", 0)
    return moved


@pytest.fixture
async def database(sqlite_url: str) -> AsyncIterator[Database]:
    opened = Database(load(database_url=sqlite_url))
    yield opened
    await opened.close_async()


@pytest.fixture
def access(database: Database, clock: Clock) -> KeyAccess:
    return KeyAccess(database, cache_seconds=CACHE_SECONDS)


def new_key(database: Database, **request: Any) -> ApiKey:
    key = make_key()
    database.run(create_key, KeyRequest(**{"tenant": "acme", **request}), key)
    return key


@contextmanager
def statements(database: Database) -> Iterator[list[str]]:
    """The statements about keys that run inside, by their first words."""
    run: list[str] = []

    def listen(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "api_keys" in statement:
            run.append(statement.split(maxsplit=1)[0])

    event.listen(database.engine, "before_cursor_execute", listen)
    yield run
    event.remove(database.engine, "before_cursor_execute", listen)


async def settle() -> None:
    """Let what was put off be done."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    await asyncio.gather(*others)


async def test_a_key_is_read_once_and_its_use_written_afterwards_once_a_minute(
    database: Database, access: KeyAccess, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_access, "COLLECT_SECONDS", 1)
    keys = [new_key(database) for _ in range(3)]

    with statements(database) as run:
        for key in keys * 4:
            assert await access.find(key) is not None
        # Nothing is written in a request's way; then one statement for all keys.
        assert run == ["SELECT"] * 3
        await settle()
        assert run == ["SELECT"] * 3 + ["UPDATE"]
        monkeypatch.setattr(key_access, "COLLECT_SECONDS", 0)
        clock.seconds += CACHE_SECONDS
        assert await access.find(keys[0]) is not None
        await settle()
        assert run == ["SELECT"] * 3 + ["UPDATE", "SELECT"]
        clock.seconds += 60
        assert await access.find(keys[0]) is not None
        await settle()
        assert run == ["SELECT"] * 3 + ["UPDATE", "SELECT", "SELECT", "UPDATE"]
    assert all(record.last_used_at for record in database.run(list_keys))


async def test_a_revoked_key_stops_within_the_seconds_of_the_setting(
    database: Database, access: KeyAccess, clock: Clock
) -> None:
    key = new_key(database)
    assert await access.find(key) is not None

    database.run(revoke_key, key.id)
    clock.seconds += CACHE_SECONDS - 1
    assert await access.find(key) is not None
    clock.seconds += 1
    assert await access.find(key) is None

    # Where nothing is kept: at once.
    other, at_once = new_key(database), KeyAccess(database, cache_seconds=0)
    assert await at_once.find(other) is not None
    database.run(revoke_key, other.id)
    assert await at_once.find(other) is None


async def test_a_key_is_not_kept_past_its_end(database: Database, access: KeyAccess, clock: Clock) -> None:
    key = new_key(database, expires=timedelta(seconds=2))
    assert await access.find(key) is not None

    clock.seconds += 2
    # By now the database's clock says so, too.
    ended = update(api_keys).values(expires_at=api_keys.c.created_at)
    database.run(lambda connection: connection.execute(ended))

    assert await access.find(key) is None


async def test_a_flood_of_keys_that_nobody_made_takes_few_statements_and_bounded_memory(
    database: Database, access: KeyAccess, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, flood = new_key(database), [make_key() for _ in range(1_200)]

    with statements(database) as run:
        bearers = await asyncio.gather(*map(access.find, [*flood, good, *flood]))
        await settle()
    assert [bearer is not None for bearer in bearers].count(True) == 1
    assert run.count("SELECT") <= 1_200 / key_access.READ_MAX_KEYS + 1

    # Again: not one; nor does the flood drive the good one out.
    monkeypatch.setattr(key_access, "CACHE_MAX_KEYS", 50)
    small = KeyAccess(database, cache_seconds=CACHE_SECONDS)
    assert await small.find(good) is not None
    await asyncio.gather(*map(small.find, flood))
    with statements(database) as run:
        assert await small.find(good) is not None
        assert await access.find(flood[0]) is None
    assert run == []
    assert len(small._bad) == 50


async def test_many_requests_with_one_key_at_once_read_it_once(database: Database, access: KeyAccess) -> None:
    key = new_key(database)

    with statements(database) as run:
        tasks = [asyncio.create_task(access.find(key)) for _ in range(100)]
        await asyncio.sleep(0)
        # One that is given up takes none of the others along.
        tasks[0].cancel()
        bearers = await asyncio.gather(*tasks[1:])
        await settle()

    assert None not in bearers
    assert run.count("SELECT") == 1


async def test_a_database_that_is_away_is_no_answer_about_a_key(
    database: Database, access: KeyAccess, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = new_key(database)

    async def fail(*_: Any) -> None:
        raise DatabaseUnavailable("away")

    with monkeypatch.context() as away:
        away.setattr(database, "run_async", fail)
        for outcome in await asyncio.gather(access.find(key), access.find(key), return_exceptions=True):
            assert isinstance(outcome, DatabaseUnavailable)
    assert await access.find(key) is not None

    # Nor does a use that cannot be written harm anybody.
    monkeypatch.setattr(database, "run_async", fail)
    with capture_logs() as lines:
        await settle()
    assert [line["event"] for line in lines] == ["key_uses_not_written"]


async def test_uses_are_written_when_the_gateway_closes(
    database: Database, access: KeyAccess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_access, "COLLECT_SECONDS", 60)
    await access.find(new_key(database))

    await access.close()

    assert [record.last_used_at is not None for record in database.run(list_keys)] == [True]


def test_an_access_works_on_another_event_loop_when_the_first_is_gone(sqlite_url: str) -> None:
    database = Database(load(database_url=sqlite_url))
    access, keys = KeyAccess(database, cache_seconds=0), [new_key(database) for _ in range(2)]

    for key in keys:
        assert asyncio.run(access.find(key)) is not None
    database.close()
