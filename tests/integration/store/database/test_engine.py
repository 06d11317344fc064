"""The way to the database: addresses, pools, limits, runs that are tried again, and its clock."""

import asyncio
import gc
import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
from sqlalchemy import Connection, select, text

from conversation.errors import DatabaseRefused, DatabaseUnavailable, InvalidSettings
from conversation.ids import new_id
from conversation.message import Message
from conversation.turn import ClaimedTurn
from store.database.column_types import CLOCK_SQL, clock
from store.database.engine import Database
from store.database.retry_policy import MAX_RUNS
from store.database.url import driver_url
from store.settings import load
from store.tables import agents, metadata, threads
from store.turns import claims, inbox, workers
from store.turns.claims import ClaimRequest, NothingDue
from store.turns.send_request import SendRequest
from tests.function_clock import move_function_clock
from tests.tries import check_tries
from threadmill.embedded.home import free_port
from threadmill.embedded.postgres import EmbeddedPostgres

SECRET = "hunter2"

Open = Callable[..., Database]


@pytest.fixture
def opened(request: pytest.FixtureRequest) -> Iterator[Open]:
    """Opens databases for the test, on PostgreSQL unless it gives a URL, and closes them."""
    databases: list[Database] = []

    def open_one(url: str = "", **values: Any) -> Database:
        url = url or request.getfixturevalue("database_url")
        databases.append(Database(load(database_url=url, **values)))
        return databases[-1]

    yield open_one
    for database in databases:
        database.close()


def scalar(connection: Connection, statement: str, **values: Any) -> Any:
    return connection.execute(text(statement), values).scalar()


def add_agent(connection: Connection, name: str) -> None:
    connection.execute(agents.insert().values(name=name, version="1", registered_at=clock()))


def agent_names(connection: Connection) -> list[str]:
    return list(connection.execute(select(agents.c.name).order_by(agents.c.name)).scalars())


# Addresses.


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("postgresql://u:p@h:1/db", "postgresql+psycopg://u:p@h:1/db"),
        ("postgres://u:p@h/db", "postgresql+psycopg://u:p@h/db"),
        ("postgresql+asyncpg://u:p@h/db", "postgresql+psycopg://u:p@h/db"),
        ("postgresql+psycopg2://u@h/db", "postgresql+psycopg://u@h/db"),
        ("postgresql://h/db?sslmode=require", "postgresql+psycopg://h/db?sslmode=require"),
        ("postgresql://h/db?ssl=verify-full", "postgresql+psycopg://h/db?sslmode=verify-full"),
        ("postgresql+asyncpg://h/db?ssl=true", "postgresql+psycopg://h/db?sslmode=require"),
        ("postgresql+asyncpg://h/db?statement_cache_size=0", "postgresql+psycopg://h/db"),
        ("postgresql+asyncpg://h/db?prepared_statement_cache_size=0", "postgresql+psycopg://h/db"),
        ("postgresql:///db?host=/run/pg", "postgresql+psycopg:///db?host=/run/pg"),
        (
            "postgresql:///db?host=a:1&host=b:2&target_session_attrs=primary",
            "postgresql+psycopg:///db?host=a:1&host=b:2&target_session_attrs=primary",
        ),
        ("sqlite://", "sqlite://"),
        ("sqlite:///folder/x.db", "sqlite:///folder/x.db"),
        ("sqlite:////var/x.db", "sqlite:////var/x.db"),
        ("sqlite+aiosqlite:///x.db?cache=private", "sqlite:///x.db?cache=private"),
    ],
)
def test_every_spelling_of_an_address_is_mapped_to_our_driver(given: str, used: str) -> None:
    assert driver_url(given).render_as_string(hide_password=False).replace("%2F", "/").replace("%3A", ":") == used


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ("mysql://u:hunter2@h/db", "mysql is not served"),
        ("postgresql+asyncpg://u:hunter2@h/db?command_timeout=5", "command_timeout"),
        ("postgresql://u:hunter2@h/db?ssl=maybe", "ssl=maybe"),
        ("postgresql://u:hunter2@h/db?sslmod=require", "sslmod"),
    ],
)
def test_an_address_that_cannot_be_served_is_refused_in_one_line(given: str, complaint: str) -> None:
    with pytest.raises(InvalidSettings) as refused:
        Database(load(database_url=given))

    assert str(refused.value).startswith("THREADMILL_DATABASE_URL: ")
    assert complaint in str(refused.value)
    assert SECRET not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_parameters_of_the_address_go_before_our_own(database_url: str, opened: Open) -> None:
    database = opened(f"{database_url}?application_name=shop&options=-csearch_path%3Dpg_catalog")

    settings = database.run(lambda c: [scalar(c, f"show {name}") for name in ("application_name", "search_path")])
    limit = database.run(scalar, statement="show lock_timeout")

    assert settings == ["shop", "pg_catalog"]
    assert limit == "5s"


def test_a_relative_address_is_a_file_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opened: Open
) -> None:
    monkeypatch.chdir(tmp_path)

    opened("sqlite:///here.db").run(metadata.create_all)

    assert (tmp_path / "here.db").exists()


# Pools and limits.


def test_the_settings_of_the_pool_reach_the_pool(opened: Open) -> None:
    database = opened(db_pool_size=2, db_max_overflow=1, db_pool_timeout=0.2, db_pool_recycle=77)
    held = [database.engine.connect() for _ in range(3)]

    started = time.monotonic()
    with pytest.raises(DatabaseUnavailable, match="did not answer"):
        database.run(agent_names)

    assert 0.15 < time.monotonic() - started < 10
    assert database.engine.pool._recycle == 77
    for connection in held:
        connection.close()
    assert database.engine.pool.checkedin() == 2


async def test_the_settings_of_the_pool_reach_the_pool_of_an_event_loop(opened: Open) -> None:
    database = opened(db_pool_size=1, db_max_overflow=0, db_pool_timeout=0.2)

    async with database.async_engine.connect():
        with pytest.raises(DatabaseUnavailable):
            await database.run_async(agent_names)

    assert await database.run_async(agent_names) == []
    await database.close_async()


def test_a_statement_that_runs_too_long_is_stopped(opened: Open) -> None:
    database = opened(db_statement_timeout_seconds=0.2)

    started = time.monotonic()
    with pytest.raises(DatabaseUnavailable, match="statement timeout"):
        database.run(scalar, statement="select pg_sleep(30)")

    assert time.monotonic() - started < 15


LIMITS = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")


def test_no_address_environment_role_or_session_lifts_a_limit(
    database_url: str, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = {"db_statement_timeout_seconds": 12, "db_lock_timeout_seconds": 12}
    tries, lifted = 0, []
    for name in LIMITS:
        for options in (f"-c {name}=0", f"-c{name.upper()}=1h", f"--{name.replace('_', '-')}=0", f"-c a=b -c {name}=0"):
            with pytest.raises(InvalidSettings, match=f"{name} in its options has no effect"):
                opened(f"{database_url}?options={quote(options)}", **seconds)
            tries += 1
    monkeypatch.setenv("PGOPTIONS", " ".join(f"-c {name}=0" for name in LIMITS))
    # A setting of another program's may have a name like ours.
    database = opened(f"{database_url}?options=-cshop.{LIMITS[0]}%3D0", **seconds)

    def alter_role(connection: Connection) -> None:
        owner = f'"{scalar(connection, "select current_user")}" in database "{database.url.database}"'
        for name in LIMITS:
            connection.exec_driver_sql(f"alter role {owner} set {name} = 0")

    def alter_session(connection: Connection) -> None:
        for name in LIMITS:
            connection.exec_driver_sql(f"set session {name} = 0")

    for alter in (lambda _: None, alter_role, alter_session):
        database.run(alter)
        if alter is alter_role:
            database.close()
        for name in LIMITS:
            tries += 1
            lifted += [name] * (database.run(scalar, statement=f"show {name}") != "12s")
    assert lifted == []
    check_tries("ways to lift the limits of statements", tries=tries, successes=len(lifted))


def test_a_wait_for_a_lock_that_takes_too_long_is_given_up(opened: Open) -> None:
    database = opened(db_lock_timeout_seconds=0.2)
    database.run(add_agent, name="a")

    with database.engine.begin() as holder:
        holder.execute(text("select * from agents for update"))
        with pytest.raises(DatabaseUnavailable, match="lock timeout"):
            database.run(scalar, statement="select * from agents for update")


def test_a_limit_below_a_millisecond_is_not_taken_for_none(opened: Open) -> None:
    database = opened(db_lock_timeout_seconds=0.0001)

    assert database.run(scalar, statement="show lock_timeout") == "1ms"


# Again, or not.


def test_two_transactions_that_lock_each_other_out_both_come_through(opened: Open) -> None:
    database = opened()
    for name in ("a", "b"):
        database.run(add_agent, name=name)
    both_hold_one = threading.Barrier(2)
    runs: list[str] = []

    def raise_both(connection: Connection, first: str, second: str) -> None:
        runs.append(first)
        statement = "update agents set version = version || 'x' where name = :name"
        connection.execute(text(statement), {"name": first})
        if len(runs) <= 2:
            both_hold_one.wait(timeout=10)
        connection.execute(text(statement), {"name": second})

    pair = [
        threading.Thread(target=database.run, args=[partial(raise_both, first=first, second=second)])
        for first, second in (("a", "b"), ("b", "a"))
    ]
    for thread in pair:
        thread.start()
    for thread in pair:
        thread.join()

    versions = database.run(lambda c: c.execute(select(agents.c.version)).scalars().all())
    assert versions == ["1xx", "1xx"]
    assert len(runs) == 3


async def test_a_transaction_that_cannot_be_serialized_runs_again(opened: Open) -> None:
    database = opened()
    database.run(add_agent, name="a")
    seen: list[str] = []

    def change(connection: Connection) -> None:
        connection.execute(text("set transaction isolation level repeatable read"))
        seen.append(scalar(connection, "select version from agents"))
        if len(seen) == 1:
            with database.engine.begin() as other:
                other.execute(text("update agents set version = '2'"))
        connection.execute(text("update agents set version = version || 'x'"))

    await database.run_async(change)

    assert seen == ["1", "2"]
    assert database.run(scalar, statement="select version from agents") == "2x"
    await database.close_async()


def test_a_race_that_is_lost_again_and_again_is_told(opened: Open) -> None:
    database = opened()
    runs = []

    def lose(connection: Connection) -> None:
        runs.append(1)
        connection.execute(text("do $$ begin raise exception 'again' using errcode = '40001'; end $$"))

    with pytest.raises(DatabaseUnavailable, match="again"):
        database.run(lose)

    assert len(runs) == MAX_RUNS


def end_sessions(server: EmbeddedPostgres, database_url: str) -> None:
    """The server closes every connection to this database, as it does when it is restarted."""
    with psycopg.connect(server.url_of("postgres"), autocommit=True) as connection:
        connection.execute(
            "select pg_terminate_backend(pid, 1000) from pg_stat_activity where datname = %s",
            [database_url.rpartition("/")[2]],
        )


async def test_connections_that_the_server_closed_are_replaced_unnoticed(
    opened: Open, postgres_server: EmbeddedPostgres, database_url: str
) -> None:
    database = opened()
    idle = [database.engine.connect() for _ in range(4)]
    for connection in idle:
        connection.execute(text("select 1"))
        connection.close()
    await asyncio.gather(*(database.run_async(agent_names) for _ in range(4)))

    end_sessions(postgres_server, database_url)

    assert database.run(agent_names) == []
    assert await database.run_async(agent_names) == []
    await database.close_async()


def test_a_connection_that_dies_in_mid_transaction_leaves_nothing_and_runs_again(
    opened: Open, postgres_server: EmbeddedPostgres, database_url: str
) -> None:
    database = opened()
    runs = []

    def add_and_be_cut_off(connection: Connection) -> None:
        runs.append(1)
        add_agent(connection, "a")
        if len(runs) == 1:
            end_sessions(postgres_server, database_url)
        add_agent(connection, "b")

    database.run(add_and_be_cut_off)

    assert database.run(agent_names) == ["a", "b"]
    assert len(runs) == 2


def test_a_broken_rule_of_the_database_is_no_reason_to_run_again(opened: Open) -> None:
    database = opened()
    runs = []

    def add_twice(connection: Connection) -> None:
        runs.append(1)
        add_agent(connection, "a")
        add_agent(connection, "a")

    with pytest.raises(DatabaseRefused):
        database.run(add_twice)

    assert len(runs) == 1


@pytest.mark.parametrize("patience_seconds", [0, 0.5])
async def test_a_database_that_is_away_is_told_in_one_line_without_its_password(
    opened: Open, patience_seconds: float, caplog: pytest.LogCaptureFixture
) -> None:
    database = opened(f"postgresql://u:{SECRET}@127.0.0.1:{free_port()}/db")

    started = time.monotonic()
    with pytest.raises(DatabaseUnavailable) as sync:
        database.patient(patience_seconds).run(agent_names)
    with pytest.raises(DatabaseUnavailable) as on_loop:
        await database.patient(patience_seconds).run_async(agent_names)
    for refused in (sync, on_loop):
        logging.getLogger("test").error("away", exc_info=refused.value)

    assert 2 * patience_seconds <= time.monotonic() - started < 2 * patience_seconds + 8
    assert str(sync.value).startswith("the database did not answer: ")
    assert "\n" not in str(sync.value)
    assert "refused" in caplog.text
    assert SECRET not in caplog.text
    await database.close_async()


def test_a_wrong_password_is_told_without_it(database_url: str, opened: Open) -> None:
    wrong = driver_url(database_url).set(password=SECRET).render_as_string(hide_password=False)

    with pytest.raises(DatabaseUnavailable, match="password authentication failed") as refused:
        opened(wrong).run(agent_names)

    assert SECRET not in str(refused.value)


@pytest.mark.parametrize("kind", ["postgresql", "sqlite"])
def test_no_text_of_a_message_is_in_an_error(
    kind: str, opened: Open, request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> None:
    database = opened("sqlite://" if kind == "sqlite" else request.getfixturevalue("database_url"))
    if kind == "sqlite":
        database.run(metadata.create_all)
    said = "my dearest secret"

    def store_wrongly(connection: Connection) -> None:
        connection.execute(threads.insert().values(tenant="default", id="t", title=said))

    with pytest.raises(DatabaseRefused) as refused:
        database.run(store_wrongly)
    logging.getLogger("test").error("refused", exc_info=refused.value)

    assert said not in str(refused.value)


# Event loops.


@pytest.mark.parametrize("kind", ["postgresql", "sqlite"])
def test_event_loops_one_after_the_other_each_have_connections_of_their_own(
    kind: str, opened: Open, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/x.db" if kind == "sqlite" else request.getfixturevalue("database_url")
    database = opened(url)
    if kind == "sqlite":
        database.run(metadata.create_all)

    async def use(name: str, *, closes: bool) -> list[str]:
        await database.run_async(add_agent, name=name)
        found = await database.run_async(agent_names)
        if closes:
            await database.close_async()
        return found

    assert asyncio.run(use("a", closes=True)) == ["a"]
    assert asyncio.run(use("b", closes=True)) == ["a", "b"]
    assert len(database._async_engines) == 0


async def test_what_is_closed_opens_again_when_it_is_used(opened: Open) -> None:
    database = opened()
    database.run(agent_names)
    await database.run_async(agent_names)

    for _ in range(2):
        database.close()
        await database.close_async()

    assert database.run(agent_names) == await database.run_async(agent_names) == []
    await database.close_async()


# SQLite.


@pytest.fixture
def file_database(tmp_path: Path, opened: Open) -> Database:
    database = opened(f"sqlite:///{tmp_path}/x.db", db_statement_timeout_seconds=0.3)
    database.run(metadata.create_all)
    return database


async def test_a_statement_of_sqlite_that_runs_too_long_is_stopped(file_database: Database) -> None:
    endless = "with recursive n(i) as (select 1 union all select i + 1 from n) select count(*) from n"

    with pytest.raises(DatabaseUnavailable, match="the database took too long"):
        file_database.run(scalar, statement=endless)
    with pytest.raises(DatabaseUnavailable, match="the database took too long"):
        await file_database.run_async(scalar, statement=endless)

    assert file_database.run(agent_names) == []
    await file_database.close_async()


async def test_every_connection_to_sqlite_is_prepared(file_database: Database) -> None:
    def rules(connection: Connection) -> list[Any]:
        return [scalar(connection, f"pragma {name}") for name in ("foreign_keys", "journal_mode", "synchronous")]

    assert file_database.run(rules) == [1, "wal", 1]
    assert await file_database.run_async(rules) == [1, "wal", 1]
    await file_database.close_async()


def test_a_transaction_in_sqlite_takes_the_right_to_write_at_once(file_database: Database) -> None:
    """A second one waits at its beginning, instead of failing in its middle."""
    with file_database.engine.begin() as first:
        scalar(first, "select 1")
        began = []
        with pytest.raises(DatabaseUnavailable, match="locked"):
            file_database.run(began.append)

    assert began == []
    file_database.run(began.append)
    assert len(began) == 1


def test_a_rollback_in_sqlite_undoes_a_change_of_the_schema_too(file_database: Database) -> None:
    """The driver by itself would have committed before it."""
    with file_database.engine.connect() as connection:
        connection.execute(text("create table shortlived (x int)"))
        connection.rollback()

    with pytest.raises(DatabaseUnavailable, match="no such table"):
        file_database.run(scalar, statement="select * from shortlived")


def test_a_child_without_its_parent_is_refused_by_sqlite(file_database: Database) -> None:
    orphan = "insert into thread_context (thread_key, key, content, updated_at) values (1, 'k', 'c', '2026')"

    with pytest.raises(DatabaseRefused, match="FOREIGN KEY"):
        file_database.run(scalar, statement=orphan)


class TestInMemory:
    """A database in memory is one connection: everybody queues for it, and nothing may close it."""

    @pytest.fixture
    def database(self, opened: Open) -> Database:
        return opened("sqlite://", db_pool_recycle=1, db_pool_timeout=20)

    async def test_the_rollback_of_one_task_leaves_the_commits_of_others(self, database: Database) -> None:
        await database.run_async(metadata.create_all)

        def work(connection: Connection, number: int) -> None:
            add_agent(connection, f"{number:02}")
            if number % 2:
                raise LookupError

        ended = await asyncio.gather(
            *(database.run_async(work, number=number) for number in range(50)), return_exceptions=True
        )

        assert [error is None for error in ended] == [number % 2 == 0 for number in range(50)]
        assert await database.run_async(agent_names) == [f"{number:02}" for number in range(0, 50, 2)]
        await database.close_async()

    def test_threads_queue_for_it_as_well(self, database: Database) -> None:
        database.run(metadata.create_all)

        crowd = [
            threading.Thread(target=database.run, args=[partial(add_agent, name=f"{number:02}")])
            for number in range(20)
        ]
        for thread in crowd:
            thread.start()
        for thread in crowd:
            thread.join()

        assert len(database.run(agent_names)) == 20

    async def test_it_is_never_recycled(self, database: Database) -> None:
        await database.run_async(metadata.create_all)

        await asyncio.sleep(1.2)

        assert await database.run_async(agent_names) == []
        await database.close_async()

    async def test_a_task_that_is_cancelled_does_not_take_it_along(self, database: Database) -> None:
        await database.run_async(metadata.create_all)
        await database.run_async(add_agent, name="kept")

        for moment in range(20):
            task = asyncio.create_task(database.run_async(add_agent, name=f"cut off {moment}"))
            await asyncio.sleep(moment * 0.0003)
            task.cancel()
            await asyncio.wait([task])

        assert "kept" in await database.run_async(agent_names)
        await database.close_async()

    async def test_an_error_in_a_statement_does_not_take_it_along(self, database: Database) -> None:
        await database.run_async(metadata.create_all)
        await database.run_async(add_agent, name="kept")

        with pytest.raises(DatabaseUnavailable):
            await database.run_async(scalar, statement="select * from nowhere")

        assert await database.run_async(agent_names) == ["kept"]
        await database.close_async()

    @pytest.mark.parametrize("url", ["sqlite:///:memory:", "sqlite:///file:m?mode=memory&uri=true"])
    async def test_every_spelling_of_it_is_known(self, url: str, opened: Open) -> None:
        database = opened(url)

        assert database.engine.pool.size() == 1
        assert database.engine.pool._max_overflow == 0


def test_an_engine_that_is_forgotten_leaves_no_file_open(tmp_path: Path) -> None:
    database = Database(load(database_url=f"sqlite:///{tmp_path}/x.db"))
    database.run(metadata.create_all)

    database.close()
    gc.collect()

    assert not (tmp_path / "x.db-wal").exists()
    with sqlite3.connect(tmp_path / "x.db") as connection:
        assert connection.execute("select count(*) from threads").fetchone() == (0,)
    connection.close()


# The clock.

#: The database's clock, an hour on.
AN_HOUR_ON = {"postgresql": "(clock_timestamp() + interval '1 hour')", "sqlite": "'now', '+1 hour'"}


def test_a_test_can_move_the_clock_so_that_a_lease_lapses(
    any_database: Database, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (ClaimRequest(worker=new_id(), agents={"assistant": "1"}) for _ in range(2))
    request = SendRequest(
        turn_id=new_id(),
        tenant="default",
        thread_id="t",
        message=Message(role="user", content="hello"),
        agent="assistant",
    )
    claim = partial(claims.claim, tenant="default", thread_id="t")
    any_database.run(
        workers.register, worker=first.worker, host="here", pid=1, serves={"assistant": "1"}, lease_duration_seconds=60
    )
    any_database.run(inbox.accept, request=request)
    assert isinstance(any_database.run(claim, claimant=first), ClaimedTurn)
    assert isinstance(any_database.run(claim, claimant=second), NothingDue)

    for kind, moved in AN_HOUR_ON.items():
        monkeypatch.setitem(CLOCK_SQL, kind, moved)
    if any_database.has_functions:
        move_function_clock(any_database.settings.database_url.get_secret_value(), AN_HOUR_ON["postgresql"])
    # Statements are compiled once for each engine: another clock takes another engine.
    later = opened(any_database.settings.database_url.get_secret_value())

    taken = later.run(claim, claimant=second)
    assert isinstance(taken, ClaimedTurn)
    assert (taken.lease.worker, taken.attempt) == (second.worker, 2)
