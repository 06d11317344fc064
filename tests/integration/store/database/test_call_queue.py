"""Calls that wait together share a transaction, and nothing else: no failure, no lock, no cancellation, no limit."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import psycopg
import pytest

from conversation.errors import DatabaseRefused, DatabaseUnavailable
from store.database import call_queue
from store.database.call_queue import BUSY, TOGETHER_MAX, half_of_connections
from store.database.engine import Database
from store.database.function_calls import FunctionCall
from store.database.tenant import act_for
from store.settings import load
from tests.integration.wire import WireTap

SCHEMA = """
create table seen (place serial, name text primary key, transaction text default pg_current_xact_id()::text);
create table rows (name text primary key);
create function threadmill.see(value text) returns json language sql
as $$ insert into seen (name) values (value) returning to_json(name) $$;
create function threadmill.lock(value text) returns json language plpgsql as $$
begin
    perform from rows where name = value for update;
    return threadmill.see(value);
end $$;
create function threadmill.see_or_fail(value text, code text) returns json language plpgsql as $$
begin
    if code is not null then raise exception 'refused' using errcode = code; end if;
    perform threadmill.see(value);
    return to_json(current_setting('lock_timeout'));
end $$;
create function threadmill.see_and_give(value text, digits integer) returns json language sql
as $$ insert into seen (name) values (value) returning repeat('9', digits)::json $$;
create function threadmill.shown(setting text) returns json language sql
as $$ select to_json(coalesce(current_setting(setting, true), '')) $$;
create function threadmill.nap(seconds double precision) returns json language sql
as $$ select to_json(1) from pg_sleep(seconds) $$;
create function threadmill.long_nap(seconds double precision) returns json language sql
as $$ select to_json(1) from pg_sleep(seconds) $$;
"""
#: Two that go at once, and those of one transaction behind them.
FULL = BUSY + TOGETHER_MAX


@pytest.fixture
def server(database_url: str) -> Iterator["psycopg.Connection[Any]"]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(SCHEMA)
        yield connection


@pytest.fixture
def tap(server: object, database_url: str) -> Iterator[WireTap]:
    with WireTap(database_url) as opened:
        yield opened


@pytest.fixture
async def database(tap: WireTap) -> AsyncIterator[Database]:
    opened = Database(load(database_url=tap.url, db_pool_size=8, db_max_overflow=0))
    # Its connections are open.
    await asyncio.gather(*(opened.call_async(call("nap", 0.01, seconds=0.01, locks=())) for _ in range(8)))
    yield opened
    await opened.close_async()


def call(
    name: str, row: Any, *, locks: tuple[Any, ...] | None = None, lazily: bool = False, **arguments: Any
) -> FunctionCall:
    return FunctionCall(
        name, arguments or {"value": row}, commits_lazily=lazily, locks=(row,) if locks is None else locks
    )


def names(count: int) -> list[str]:
    return [f"{number:02}" for number in range(count)]


def seen(server: "psycopg.Connection[Any]") -> list[list[str]]:
    """The names that were seen, of each transaction, in their order."""
    query = "select array_agg(name order by place) from seen group by transaction order by min(place)"
    return [row[0] for row in server.execute(query)]


async def test_what_waits_goes_in_one_message_and_one_transaction_in_the_order_of_its_locks(
    database: Database, tap: WireTap, server: "psycopg.Connection[Any]", monkeypatch: pytest.MonkeyPatch
) -> None:
    # It goes when another one has ended, and not when the time is over.
    monkeypatch.setattr(call_queue, "GATHER_SECONDS", 3600)
    asked = names(FULL)[::-1]

    async with asyncio.timeout(20):
        with tap.listening() as traffic:
            values = await asyncio.gather(*(database.call_async(call("see", name)) for name in asked))

    assert values == asked
    assert traffic.round_trips == BUSY + 1
    *alone, together = sorted(seen(server), key=len)
    assert sorted(alone) == [[name] for name in sorted(asked[:BUSY])]
    assert together == sorted(asked[BUSY:])


async def test_a_call_without_a_lock_and_one_that_acts_for_a_tenant_share_none(
    database: Database, tap: WireTap
) -> None:
    with tap.listening() as traffic:
        await asyncio.gather(*(database.call_async(call("shown", n, setting="x.y", locks=())) for n in range(FULL)))
    assert traffic.round_trips == FULL

    async def tenant_seen_by(tenant: str) -> str:
        with act_for(tenant):
            seen_tenant: str = await database.call_async(call("shown", tenant, setting="threadmill.tenant"))
        return seen_tenant

    tenants = [f"tenant-{number}" for number in range(FULL)]
    assert await asyncio.gather(*map(tenant_seen_by, tenants)) == tenants
    none = await asyncio.gather(
        *(database.call_async(call("shown", n, setting="threadmill.tenant")) for n in range(FULL))
    )
    assert none == [""] * FULL


@pytest.mark.parametrize("code", ["22023", "23505"], ids=["a value", "a row"])
async def test_one_that_is_refused_fails_alone(
    database: Database, server: "psycopg.Connection[Any]", code: str
) -> None:
    bad = names(FULL)[5]
    calls = [call("see_or_fail", n, value=n, code=code if n == bad else None) for n in names(FULL)]

    outcomes = await asyncio.gather(*map(database.call_async, calls), return_exceptions=True)

    assert isinstance(outcomes.pop(5), DatabaseRefused)
    # Alone, each had the limits of its own.
    assert outcomes == [f"{database.settings.db_lock_timeout_seconds:.0f}s"] * (FULL - 1)
    assert sorted(name for transaction in seen(server) for name in transaction) == sorted({*names(FULL)} - {bad})


@pytest.mark.parametrize("unsendable", ["\ud800", "\0"], ids=["a surrogate", "a NUL"])
async def test_a_value_that_cannot_be_sent_fails_alone(database: Database, unsendable: str) -> None:
    asked = [*names(FULL - 1), unsendable]

    outcomes = await asyncio.gather(*(database.call_async(call("see", n)) for n in asked), return_exceptions=True)

    assert outcomes[:-1] == asked[:-1]
    assert isinstance(outcomes[-1], DatabaseRefused)


async def test_a_value_that_cannot_be_read_fails_alone_and_nothing_is_called_twice(
    database: Database, server: "psycopg.Connection[Any]"
) -> None:
    """Its transaction is committed, and with it those of the others."""
    big = names(FULL)[5]
    calls = [call("see_and_give", n, value=n, digits=5_000 if n == big else 1) for n in names(FULL)]

    outcomes = await asyncio.gather(*map(database.call_async, calls), return_exceptions=True)

    # More digits than Python reads.
    assert isinstance(outcomes.pop(5), ValueError)
    assert outcomes == [9] * (FULL - 1)
    assert sorted(name for transaction in seen(server) for name in transaction) == names(FULL)


async def test_a_row_that_somebody_holds_on_to_holds_up_its_own_call_alone(
    database: Database, server: "psycopg.Connection[Any]", database_url: str
) -> None:
    held = names(FULL)[5]
    server.execute("insert into rows values (%s)", [held])
    with psycopg.connect(database_url) as holder:
        holder.execute("select from rows for update")
        tasks = {name: asyncio.create_task(database.call_async(call("lock", name))) for name in names(FULL)}
        done, pending = await asyncio.wait([tasks[name] for name in names(FULL) if name != held], timeout=20)
        assert len(done) == FULL - 1
        assert not pending
        assert not tasks[held].done()
        holder.rollback()
    assert await asyncio.wait_for(tasks[held], 20) == held


async def test_the_limits_of_a_call_are_its_own_unless_others_wait_with_it(database: Database) -> None:
    asked = [call("shown", number, setting="lock_timeout") for number in range(FULL)]

    shown = await asyncio.gather(*map(database.call_async, asked))

    assert shown == [f"{database.settings.db_lock_timeout_seconds:.0f}s"] * BUSY + ["50ms"] * TOGETHER_MAX
    assert await database.call_async(asked[0]) == shown[0]


async def test_together_they_wait_for_the_disk_unless_none_of_them_would(database: Database) -> None:
    async def shown(*lazy: bool) -> list[Any]:
        calls = [call("shown", n, setting="synchronous_commit", lazily=each) for n, each in enumerate(lazy)]
        return (await asyncio.gather(*map(database.call_async, calls)))[BUSY:]

    assert await shown(*[True] * FULL) == ["off"] * TOGETHER_MAX
    assert await shown(*[True] * (FULL - 1), False) == ["on"] * TOGETHER_MAX


async def test_who_gives_up_takes_nobody_along(database: Database, server: "psycopg.Connection[Any]") -> None:
    tasks = [asyncio.create_task(database.call_async(call("see", name))) for name in names(FULL)]
    await asyncio.sleep(0)
    tasks[3].cancel()

    outcomes = await asyncio.gather(*tasks, return_exceptions=True)

    assert isinstance(outcomes.pop(3), asyncio.CancelledError)
    assert outcomes == [name for name in names(FULL) if name != names(FULL)[3]]
    assert sorted(name for transaction in seen(server) for name in transaction) == outcomes


async def test_who_gives_up_while_it_is_under_way_breaks_off_no_transaction_of_others(database: Database) -> None:
    tasks = [asyncio.create_task(database.call_async(call("nap", number, seconds=0.05))) for number in range(FULL)]
    # The first ones are back: the others are under way.
    await asyncio.gather(*tasks[:BUSY])
    tasks[BUSY].cancel()

    async with asyncio.timeout(20):
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)

    assert isinstance(outcomes.pop(BUSY), asyncio.CancelledError)
    assert outcomes == [1] * (FULL - 1)


async def test_a_cut_connection_is_everybodys_and_each_of_them_runs_again(
    database: Database, server: "psycopg.Connection[Any]"
) -> None:
    tasks = [asyncio.create_task(database.call_async(call("nap", n, seconds=0.2))) for n in range(FULL)]
    await asyncio.sleep(0.1)
    server.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where datname = current_database() and pid <> pg_backend_pid()"
    )

    assert await asyncio.gather(*tasks) == [1] * FULL


async def test_what_a_connection_failed_of_is_told_to_each_at_once() -> None:
    """A server that is away is not asked again by each of those who waited for one answer."""
    asked = 0

    def refuse(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        writer.close()

    away = await asyncio.start_server(refuse, "127.0.0.1", 0)
    port = away.sockets[0].getsockname()[1]
    database = Database(
        load(database_url=f"postgresql://nobody@127.0.0.1:{port}/none?sslmode=disable&gssencmode=disable")
    )

    calls = (database.call_async(call("see", name)) for name in names(FULL))
    outcomes = await asyncio.gather(*calls, return_exceptions=True)

    assert {type(outcome) for outcome in outcomes} == {DatabaseUnavailable}
    assert asked == BUSY + 1
    await database.close_async()
    away.close()


async def test_who_leaves_half_of_the_connections_takes_no_more_and_others_take_what_is_free(
    database: Database,
) -> None:
    def nap_on(number: int, *, leaves_half: bool) -> "asyncio.Task[Any]":
        arguments = {"seconds": 0.5}
        name = "nap" if leaves_half else "long_nap"
        return asyncio.create_task(
            database.call_async(FunctionCall(name, arguments, locks=(number,), leaves_half=leaves_half))
        )

    slow = [nap_on(number, leaves_half=True) for number in range(40)]
    await asyncio.sleep(0.1)
    assert half_of_connections(database.settings) == 4
    assert database.async_engine.pool.checkedout() == 4  # type: ignore[attr-defined]

    slow += [nap_on(number, leaves_half=False) for number in range(3)]
    await asyncio.sleep(0.05)
    # With three that are held up, the fourth one is not.
    assert await database.call_async(call("see", "free")) == "free"
    assert not any(task.done() for task in slow)
    for task in slow:
        task.cancel()
    await asyncio.gather(*slow, return_exceptions=True)


async def test_rows_that_are_held_hold_up_no_call_for_another_one(
    database: Database, server: "psycopg.Connection[Any]", database_url: str
) -> None:
    """As long as a connection is free: the calls that wait take one each."""
    held = names(7)
    for name in held:
        server.execute("insert into rows values (%s)", [name])
    with psycopg.connect(database_url) as holder:
        holder.execute("select from rows for update")
        waiting = [asyncio.create_task(database.call_async(call("lock", name))) for name in held]
        await asyncio.sleep(0.1)
        for free in ("x", "y", "z"):
            assert await asyncio.wait_for(database.call_async(call("lock", free)), 1) == free
        assert not any(task.done() for task in waiting)
        holder.rollback()
    assert await asyncio.gather(*waiting) == held
