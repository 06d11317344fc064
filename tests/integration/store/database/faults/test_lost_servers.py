"""Servers that were demoted or are silent, and clients that are: nothing waits for them for hours."""

import socket
import time
from functools import partial
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, text

from conversation.errors import DatabaseUnavailable
from store.database import limits
from store.database.caller_connection import borrow_connection
from store.database.engine import Database
from store.settings import load
from store.turns import inbox
from tests.integration.store.database.faults.breaking_wire import BreakingWire
from tests.integration.store.database.faults.stage import Stage, ping, request

# A server that was demoted.


def be_read_only(database: Database) -> int:
    """What a failover leaves in the pool: a connection to what is a standby now."""
    with database.engine.connect() as connection:
        connection.exec_driver_sql("set default_transaction_read_only = on")
        connection.commit()
    return database.run(ping)


def test_a_connection_to_a_demoted_server_is_thrown_away(stage: Stage) -> None:
    demoted = be_read_only(stage.database)

    stage.database.run(inbox.accept, request=request("t"))

    assert stage.database.run(ping) != demoted
    stage.go_on()
    stage.assert_whole("t", turn_ids=stage.turn_ids("t"), state="completed", told="")


def test_a_server_that_stays_read_only_is_told(stage: Stage, database_url: str) -> None:
    name = database_url.rpartition("/")[2]
    with psycopg.connect(database_url, autocommit=True) as operator:
        operator.execute(f"alter database {name} set default_transaction_read_only = on")
    be_read_only(stage.database)

    with pytest.raises(DatabaseUnavailable, match="is read-only, as a standby is: cannot"):
        stage.database.run(inbox.accept, request=request("t"))


def test_a_sender_on_a_demoted_servers_connection_is_told_so_too(stage: Stage, database_url: str) -> None:
    with psycopg.connect(database_url) as lent:
        lent.execute("set transaction read only")
        with pytest.raises(DatabaseUnavailable, match="read-only"), borrow_connection(lent) as connection:
            inbox.accept(connection, request("t"))


# A client, or a machine, that is silent.


def test_a_transaction_whose_client_was_stopped_frees_its_locks_and_runs_again_when_it_wakes(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, wire: BreakingWire
) -> None:
    """A process under SIGSTOP, or a machine that is cut off, would hold a thread's row for hours."""
    monkeypatch.setattr(limits, "MIN_IDLE_IN_TRANSACTION_SECONDS", 0.2)
    database = Database(load(database_url=wire.url, db_statement_timeout_seconds=0.2))
    stage.sent("t")
    runs: list[float] = []

    def be_stopped(connection: Connection) -> None:
        runs.append(time.monotonic())
        connection.execute(text("select from threads for update"))
        if len(runs) == 1:
            # Another one waits for the row, without any limit, until the server takes it away from here.
            with stage.steady.engine.begin() as other:
                other.execute(text("set local lock_timeout = 0"))
                other.execute(text("set local statement_timeout = 0"))
                other.execute(text("select from threads for update"))

    database.run(be_stopped)

    assert len(runs) == 2
    database.close()


@pytest.mark.parametrize("on_loop", [False, True])
async def test_a_server_whose_machine_is_gone_is_given_up_by_the_socket_itself(stage: Stage, on_loop: bool) -> None:
    """No answer will ever come, and no reset: only the socket can tell."""
    found: list[dict[str, int]] = []

    def look(connection: Connection) -> None:
        driver: Any = connection.connection.driver_connection
        with socket.socket(fileno=driver.pgconn.socket) as raw:
            tcp = partial(raw.getsockopt, socket.IPPROTO_TCP)
            found.append(
                {
                    "alive": raw.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
                    "idle": tcp(socket.TCP_KEEPIDLE),
                    "between": tcp(socket.TCP_KEEPINTVL),
                    "times": tcp(socket.TCP_KEEPCNT),
                    "untaken": tcp(socket.TCP_USER_TIMEOUT),
                }
            )
            raw.detach()

    if on_loop:
        await stage.database.run_async(look)
    else:
        stage.database.run(look)

    assert found == [{"alive": 1, "idle": 10, "between": 5, "times": 3, "untaken": 30_000}]
