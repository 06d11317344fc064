"""What the database says when it fails: run again, waited for, told, or handed on as it is.

Each verb meets the fault in the database itself, by a trigger on every table that it writes to; the
faults that can be had for real are.
"""

import asyncio
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import DBAPIError

from conversation.errors import DatabaseUnavailable
from store.database import engine as engine_module
from store.database.column_types import clock
from store.database.engine import Database
from store.database.retry_policy import MAX_RUNS
from store.settings import load
from store.tables import agents, metadata
from store.turns import inbox
from store.turns.settle import SettleOutcome
from store.turns.turn_store import TurnStore
from tests.integration.store.database.faults.breaking_wire import BreakingWire
from tests.integration.store.database.faults.stage import ENDLESS_SECONDS, Stage, answer, ping, request
from tests.integration.store.database.faults.verbs import ENDS, GIVEN_UP, VERBS, tried

#: Lost a race: serialization failure, deadlock.
RACES = ("40001", "40P01", "23503")
#: May pass: a lock, a statement's time, connections, memory, disk.
PASSING = ("55P03", "57014", "53300", "53200", "53100")
#: As often as no test lasts.
FOR_EVER = 10**9
#: A patience that no test waits for.
ENDLESSLY = 3600


class Saboteur:
    """Makes the database refuse to write, so many times, with a SQLSTATE."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        connection.execute("create sequence refused")
        self.refuses(0, "00000")
        for table in ("threads", "turns", "inbox_messages", "messages", "steps", "workers"):
            connection.execute(
                f"create trigger sabotage before insert or update or delete on {table} "
                "for each statement execute function sabotage()"
            )

    def refuses(self, times: int, sqlstate: str) -> None:
        # A sequence is not rolled back: it counts what was refused.
        self._connection.execute(
            "create or replace function sabotage() returns trigger language plpgsql as $$ begin "
            f"if nextval('refused') <= {times} then raise exception 'sabotage' using errcode = '{sqlstate}'; "
            "end if; return null; end $$"
        )
        self._connection.execute("select setval('refused', 1, false)")


@pytest.fixture
def steady_connection(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def saboteur(steady_connection: psycopg.Connection[Any]) -> Saboteur:
    return Saboteur(steady_connection)


# Races.


@pytest.mark.parametrize("sqlstate", RACES)
@pytest.mark.parametrize("name", VERBS)
async def test_a_verb_that_loses_a_race_runs_again_and_one_that_loses_each_time_is_told(
    stage: Stage, saboteur: Saboteur, name: str, sqlstate: str
) -> None:
    for times in (MAX_RUNS - 1, FOR_EVER):
        thread = f"t-{times}"
        act = VERBS[name](stage, thread)
        saboteur.refuses(times, sqlstate)

        started = time.monotonic()
        outcome = await tried(act)

        saboteur.refuses(0, sqlstate)
        told = f"{name}, refused {times} times: {outcome!r}"
        assert isinstance(outcome, DatabaseUnavailable) is (times == FOR_EVER), told
        assert time.monotonic() - started < ENDLESS_SECONDS, told
        if times == FOR_EVER:
            assert str(outcome) == "the database let others go first, again and again: sabotage"
            if name not in GIVEN_UP:
                await act()
        stage.go_on()
        (turn_id,) = stage.turn_ids(thread)
        stage.assert_whole(thread, turn_ids=[turn_id], state=ENDS.get(name, "completed"), told=told)


def wait_until_blocked(connection: psycopg.Connection[Any], count: int = 1) -> None:
    """Until so many sessions of this database wait for a lock."""
    mine = "select count(*) from pg_stat_activity where datname = current_database()"
    waiting = f"{mine} and wait_event_type = 'Lock'"
    give_up_at = time.monotonic() + ENDLESS_SECONDS
    while True:
        (blocked,) = connection.execute(waiting).fetchone() or (0,)
        if blocked >= count:
            return
        assert time.monotonic() < give_up_at, "nobody was ever blocked"
        time.sleep(0.02)


async def test_a_commit_that_is_the_victim_of_a_deadlock_comes_through(
    stage: Stage, steady_connection: psycopg.Connection[Any], database_url: str
) -> None:
    claimed = stage.claimed("t")
    with psycopg.connect(database_url) as other:
        # The other one is patient: whoever looks for a deadlock first is its victim.
        other.execute("set local deadlock_timeout = '1h'")
        other.execute("select from turns where id = %s for update", [claimed.id])
        settling = asyncio.create_task(stage.ledger.settle(claimed, answer(), release=True))
        await asyncio.to_thread(wait_until_blocked, steady_connection)

        await asyncio.to_thread(other.execute, "select from threads for update")
        other.rollback()
        assert await settling == SettleOutcome()

    stage.assert_whole("t", turn_ids=[claimed.id], state="completed", told="")


# What may pass.


@pytest.mark.soak
@pytest.mark.parametrize("sqlstate", PASSING)
@pytest.mark.parametrize("name", ["record", "settle"])
async def test_what_was_paid_for_waits_for_what_may_pass(
    stage: Stage, saboteur: Saboteur, name: str, sqlstate: str
) -> None:
    """A model's answer is in memory: given up, it would be asked and paid for again."""
    stage.ledger = TurnStore(stage.database, patience_seconds=ENDLESSLY)
    act = VERBS[name](stage, "t")
    saboteur.refuses(MAX_RUNS + 1, sqlstate)

    assert not isinstance(await tried(act), DatabaseUnavailable)

    (turn_id,) = stage.turn_ids("t")
    stage.assert_whole("t", turn_ids=[turn_id], state="completed", told=sqlstate)


@pytest.mark.soak
@pytest.mark.parametrize("sqlstate", [*PASSING, *RACES])
async def test_patience_ends(stage: Stage, saboteur: Saboteur, sqlstate: str) -> None:
    claimed = stage.claimed("t")
    saboteur.refuses(FOR_EVER, sqlstate)
    patience = 0.5

    started = time.monotonic()
    with pytest.raises(DatabaseUnavailable, match="sabotage"):
        await TurnStore(stage.database, patience_seconds=patience).settle(claimed, answer(), release=True)

    assert patience <= time.monotonic() - started < ENDLESS_SECONDS


@pytest.mark.parametrize(
    ("sqlstate", "words"),
    [
        ("53100", "the database's disk is full"),
        ("53300", "the database has no connection left"),
        ("55P03", "another transaction held on to a row for too long"),
        ("57014", "the database took too long"),
        ("53200", "the database did not answer"),
        ("42501", "the database's user may not do this"),
        ("XX001", "the database's files are damaged"),
    ],
)
def test_a_sender_is_told_at_once_and_in_words(stage: Stage, saboteur: Saboteur, sqlstate: str, words: str) -> None:
    saboteur.refuses(1, sqlstate)

    with pytest.raises(DatabaseUnavailable) as told:
        stage.database.run(inbox.accept, request=request("t"))

    assert str(told.value) == f"{words}: sabotage"


async def test_a_commit_waits_for_a_row_for_longer_than_one_lock_may_take(
    database_url: str, wire: BreakingWire, steady_connection: psycopg.Connection[Any]
) -> None:
    stage = Stage(database_url, wire.url, db_lock_timeout_seconds=0.2)
    claimed = stage.claimed("t")
    watched = wire.breaks()
    ledger = TurnStore(stage.database, patience_seconds=ENDLESSLY)

    with psycopg.connect(database_url) as holder:
        holder.execute("select from threads for update")
        settling = asyncio.create_task(ledger.settle(claimed, answer(), release=True))
        async with asyncio.timeout(ENDLESS_SECONDS):
            while sum("settle_turn" in words for words in watched.statements) <= MAX_RUNS:
                assert not settling.done()
                await asyncio.sleep(0.05)
        holder.rollback()
        assert await settling == SettleOutcome()

    stage.assert_whole("t", turn_ids=[claimed.id], state="completed", told="")
    await stage.close()


@contextmanager
def role(connection: psycopg.Connection[Any], rules: str) -> Iterator[tuple[str, str]]:
    """A user of the database with less than all rights: name and password."""
    name, password = f"role_{secrets.token_hex(8)}", secrets.token_hex(8)
    connection.execute(f"create role {name} login password '{password}' {rules}")
    try:
        yield name, password
    finally:
        connection.execute(f"drop owned by {name}")
        connection.execute(f"drop role {name}")


def as_role(database_url: str, name: str, password: str) -> str:
    address = engine_module.driver_url(database_url).set(username=name, password=password)
    return address.render_as_string(hide_password=False)


def test_a_server_without_a_free_connection_is_waited_for_by_who_has_patience(
    steady_connection: psycopg.Connection[Any], database_url: str
) -> None:
    with role(steady_connection, "connection limit 1") as (name, password):
        url = as_role(database_url, name, password)
        database = Database(load(database_url=url))
        with psycopg.connect(url.replace("+psycopg", "")) as only:
            with pytest.raises(DatabaseUnavailable, match="too many connections"):
                database.run(ping)
            freed = threading.Timer(0.5, only.close)
            freed.start()
            database.patient(ENDLESSLY).run(ping)
            freed.join()
        database.close()


def test_a_user_without_rights_is_told_so(steady_connection: psycopg.Connection[Any], database_url: str) -> None:
    with role(steady_connection, "") as (name, password):
        database = Database(load(database_url=as_role(database_url, name, password)))

        with pytest.raises(DatabaseUnavailable, match="user may not do this: permission denied for schema"):
            database.patient(ENDLESSLY).run(inbox.accept, request=request("t"))

        database.close()


# What the database refuses.


def test_a_value_that_no_index_takes_is_no_reason_to_wait(stage: Stage) -> None:
    """The driver counts it as the server's trouble; waited for, it would be tried for ever."""
    # Hex of random bytes, which cannot be compressed below what a page of an index holds.
    name = secrets.token_hex(20_000)
    row = agents.insert().values(name=name, version="1", registered_at=clock())

    with pytest.raises(DatabaseRefused, match="index row"):
        stage.database.patient(ENDLESSLY).run(lambda connection: connection.execute(row))


def test_a_file_that_somebody_else_writes_to_is_waited_for(tmp_path: Path) -> None:
    database, other = (
        Database(load(database_url=f"sqlite:///{tmp_path}/x.db", db_statement_timeout_seconds=0.05)) for _ in range(2)
    )
    database.run(metadata.create_all)
    tried_often = threading.Event()
    count_begins(database, lambda count: count > MAX_RUNS and tried_often.set())

    with other.engine.connect() as writer:
        writer.execute(text("select 1"))
        waiting = threading.Thread(
            target=database.patient(ENDLESSLY).run, args=[lambda connection: connection.execute(text("select 1"))]
        )
        waiting.start()
        assert tried_often.wait(ENDLESS_SECONDS)
        writer.rollback()
    waiting.join(ENDLESS_SECONDS)

    assert not waiting.is_alive()
    for opened in (database, other):
        opened.close()


def count_begins(database: Database, told: Callable[[int], object]) -> None:
    """Call `told` with the number of each transaction that is tried from now on."""
    begun: list[str] = []

    @event.listens_for(database.engine, "before_cursor_execute")
    def _count(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if statement.startswith("BEGIN"):
            begun.append(statement)
            told(len(begun))
