"""Calls of functions: one round trip, arguments in order, the limits of a transaction, errors, cut connections."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, closing
from datetime import timedelta
from functools import partial
from typing import Any

import psycopg
import pytest
from sqlalchemy import text

from conversation.errors import DatabaseRefused, DatabaseUnavailable
from conversation.ids import new_id
from conversation.message import Message
from conversation.turn import Completed, Failed, HandOver, Lease, RetryLater, TurnError
from store.database.engine import Database
from store.database.function_calls import FunctionCall, call_within
from store.settings import load
from store.turns import claim_call, send_function, settle_call, sweep
from store.turns.claims import ClaimRequest
from store.turns.inbox import SendLimits, SendRequest
from store.turns.sweep_request import SweepRequest
from tests.integration.wire import WireTap

FUNCTIONS = """
create function threadmill.echo(value text) returns json language sql as $$ select json_build_object('value', value) $$;
create function threadmill.nap() returns json language sql as $$ select to_json(1) from pg_sleep(20) $$;
create function threadmill.fail(code text) returns json language plpgsql as $$
begin raise exception 'refused' using errcode = code, detail = 'the secret row'; end $$;
create function threadmill.shown(setting text) returns json language sql
as $$ select to_json(current_setting(setting)) $$;
"""

Call = Callable[..., Any]


@pytest.fixture
def tap(database_url: str) -> Iterator[WireTap]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(FUNCTIONS)
    with WireTap(database_url) as opened:
        yield opened


@pytest.fixture(params=["sync", "async"])
async def call(request: pytest.FixtureRequest, tap: WireTap) -> AsyncIterator[Call]:
    """A call on either road: name and arguments in, the value out."""
    database = Database(load(database_url=tap.url, db_statement_timeout_seconds=0.2, db_lock_timeout_seconds=0.1))

    async def call_function(name: str, *, lazily: bool = False, **arguments: Any) -> Any:
        function_call = FunctionCall(name, arguments, commits_lazily=lazily)
        if request.param == "sync":
            return await asyncio.to_thread(database.call, function_call)
        return await database.call_async(function_call)

    yield call_function
    await database.close_async()
    database.close()


async def test_a_call_is_one_round_trip_and_takes_any_text(call: Call, tap: WireTap) -> None:
    hostile = "'); drop table threads; -- \\' %s %(x)s \x01 \U0001f600 $$"
    await call("echo", value="warm")

    with tap.listening() as traffic:
        assert await call("echo", value=hostile) == {"value": hostile}
        assert await call("echo", value=None) == {"value": None}

    assert traffic.round_trips == 2


async def test_a_call_has_the_limits_of_a_transaction_and_leaves_none_behind(call: Call) -> None:
    assert await call("shown", setting="statement_timeout") == "200ms"
    assert await call("shown", setting="lock_timeout") == "100ms"

    with pytest.raises(DatabaseUnavailable, match="took too long"):
        await call("nap")
    assert await call("echo", value="after") == {"value": "after"}


async def test_what_commits_lazily_does_so_in_its_own_transaction_alone(call: Call) -> None:
    assert await call("shown", setting="synchronous_commit", lazily=True) == "off"
    assert await call("shown", setting="synchronous_commit") == "on"


async def test_a_refused_value_is_raised_without_its_row_and_the_connection_goes_on(call: Call) -> None:
    with pytest.raises(DatabaseRefused) as refused:
        await call("fail", code="22023")

    assert "secret" not in str(refused.value)
    assert "secret" not in str(refused.value.__cause__)
    assert await call("echo", value="after") == {"value": "after"}


async def test_a_call_survives_a_server_that_cut_every_connection(call: Call, database_url: str) -> None:
    """More connections than runs of an operation: all of them are opened anew after the first cut."""
    await asyncio.gather(*(call("echo", value=json.dumps(number)) for number in range(8)))
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid()"
        )

    assert await asyncio.gather(*(call("echo", value=str(number)) for number in range(8))) == [
        {"value": str(number)} for number in range(8)
    ]


async def test_a_call_that_is_cancelled_leaves_the_pool_whole(tap: WireTap) -> None:
    database = Database(load(database_url=tap.url, db_pool_size=1, db_max_overflow=0))

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await database.call_async(FunctionCall("nap", {}))

    assert await database.call_async(FunctionCall("echo", {"value": "after"})) == {"value": "after"}
    await database.close_async()


def test_a_call_within_a_transaction_is_part_of_it(tap: WireTap) -> None:
    database = Database(load(database_url=tap.url))
    with database.engine.begin() as connection:
        connection.execute(text("create temporary table seen (value text) on commit drop"))
        assert call_within(connection, FunctionCall("echo", {"value": "%"})) == {"value": "%"}
        assert connection.execute(text("select count(*) from seen")).scalar_one() == 0
    database.close()


def test_there_are_no_functions_where_plain_statements_are_asked_for(database_url: str, sqlite_url: str) -> None:
    assert Database(load(database_url=database_url)).has_functions
    assert not Database(load(database_url=database_url), use_functions=False).has_functions
    assert not Database(load(database_url=sqlite_url)).has_functions


def test_the_arguments_of_the_stores_calls_are_in_the_order_of_their_functions(database_url: str) -> None:
    """PostgreSQL is told them by their places."""
    worker = new_id()
    lease = Lease(thread_key=1, worker=worker, fencing_token=1)
    asked = partial(SendRequest, turn_id=new_id(), tenant="default", thread_id="t", agent="assistant")
    messages = Message(role="user", content="hi"), None
    error = TurnError("model_error", "it is away")
    endings = Completed(), Failed(error=error), RetryLater(error=error, after=timedelta(seconds=1)), HandOver()
    calls = [
        *(send_function.call_of(asked(message=each), SendLimits(), mark_notified=True) for each in messages),
        claim_call.build("default", "t", ClaimRequest(worker=worker, agents={}), None),
        *(settle_call.build(lease, new_id(), ending, release=True) for ending in endings),
        sweep.build_call(SweepRequest(grace_seconds=0, limit=1)),
    ]

    with psycopg.connect(database_url) as connection:
        query = "select proargnames from pg_proc where oid = cast('threadmill.' || %s as regproc)"
        orders = [connection.execute(query, [call.name]).fetchone() for call in calls]

    assert [(list(call.arguments),) for call in calls] == orders


def test_the_connection_that_was_used_last_is_lent_next(database_url: str) -> None:
    """Its server process has in its memory what the next call needs."""
    database = Database(load(database_url=database_url, db_pool_size=3))
    with closing(database), ExitStack() as lent:
        connections = [lent.enter_context(database.engine.connect()) for _ in range(3)]
        pids = [connection.exec_driver_sql("select pg_backend_pid()").scalar_one() for connection in connections]
        # The first one is given back last.
        lent.close()
        used = [database.run(lambda c: c.exec_driver_sql("select pg_backend_pid()").scalar_one()) for _ in range(4)]

    assert len(set(pids)) == 3
    assert used == [pids[0]] * 4
