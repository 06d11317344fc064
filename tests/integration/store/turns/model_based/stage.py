"""The real store, with a clock that stands still until it is moved, and transactions that can be held up.

What stays true: an order that a test wants is made, never hoped for. A transaction is parked after
one of its statements; the other one is then seen to end, or to wait for a lock of the first.
"""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, event
from sqlalchemy.exc import DBAPIError

from store.database.column_types import CLOCK_SQL
from store.database.engine import Database
from store.database.retry_policy import MAX_RUNS, RACES
from store.settings import load
from store.turns import taken_up_calls
from tests.function_clock import move_function_clock
from tests.integration.store.turns.model_based import picture
from tests.integration.store.turns.model_based.conversions import moment
from tests.integration.store.turns.model_based.decision_operations import next_id
from tests.integration.store.turns.model_based.operations import Operation, outcome

#: Seconds after which something hangs: no more than a guard, nothing is measured by it.
HANGS = 60

_CLOCK = (
    "CREATE TABLE model_clock (now timestamptz NOT NULL)",
    "INSERT INTO model_clock VALUES ('2030-01-01 00:00:00+00')",
    # Volatile, as the real clock is: each statement reads it anew, also in the middle of a transaction.
    "CREATE FUNCTION model_now() RETURNS timestamptz LANGUAGE sql VOLATILE AS 'SELECT now FROM model_clock'",
)


_WEBHOOK = (
    "INSERT INTO webhooks (id, tenant, name, url, secrets, state, created_at, updated_at) "
    "VALUES ('e0000000-0000-0000-0000-000000000001', 'default', '', 'https://a.example', '[]', 'enabled', "
    "'2030-01-01', '2030-01-01')"
)


@dataclass(frozen=True)
class Raced:
    """What came of two transactions that ran at the same time."""

    first: Any
    second: Any
    #: The second one waited for a lock of the first.
    waited: bool
    #: How many statements the first one had.
    statements: int


class Stage:
    """A database of its own."""

    #: Others write while a transaction is open.
    has_many_writers = True

    def __init__(self, url: str, *, use_functions: bool) -> None:
        self.database = Database(
            load(database_url=url, db_lock_timeout_seconds=HANGS, db_statement_timeout_seconds=HANGS),
            use_functions=use_functions,
        )
        self._pool = ThreadPoolExecutor(2)
        self._watcher = psycopg.connect(url, autocommit=True)
        for statement in _CLOCK:
            self._watcher.execute(statement)
        move_function_clock(url, "model_now()")

    def close(self) -> None:
        self._pool.shutdown()
        self._watcher.close()
        self.database.close()

    def clear(self) -> None:
        """Nothing is stored but a webhook that is told of everything, and it is second 0."""
        for table in ("threads", "workers", "agents", "webhooks", "erasures"):
            self.execute(f"DELETE FROM {table}")
        self.execute(_WEBHOOK)
        self.set_clock(0)

    def execute(self, statement: str) -> None:
        self._watcher.execute(statement)

    def set_clock(self, second: int) -> None:
        self._watcher.execute("UPDATE model_clock SET now = %s", [moment(second)])

    def picture(self) -> picture.Picture:
        return picture.of_store(self._watcher)

    def run(self, operation: Operation, *, commits: bool = True) -> Any:
        """Run it in a transaction of its own; `commits=False` is a process that dies just before."""
        with self.database.engine.connect() as connection:
            return _whole(operation, connection, commits=commits)

    def race(self, first: Operation, second: Operation, *, after: int = 99, commits: bool = True) -> Raced:
        """Hold `first` up after so many statements, at the latest before its commit; then run `second`."""
        with self.database.engine.connect() as one, self.database.engine.connect() as other:
            gate = _Gate(one, after)
            running = self._pool.submit(_whole, first, one, commits=commits, gate=gate)
            try:
                gate.wait_for(running)
                second_pid = backend_of(other)
                racing = self._pool.submit(_whole, second, other, commits=True)
                waited = self._waits(racing, second_pid)
            finally:
                gate.open.set()
            return Raced(running.result(HANGS), racing.result(HANGS), waited, gate.statements)

    def _waits(self, racing: "Future[Any]", pid: int) -> bool:
        """Look until it has ended (False), or another transaction blocks it (True)."""
        give_up_at = time.monotonic() + HANGS
        while not racing.done():
            blockers = self._watcher.execute("SELECT pg_blocking_pids(%s)", [pid]).fetchone()
            if blockers and blockers[0]:
                return True
            assert time.monotonic() < give_up_at, "it neither ends nor waits"
        return False

    @contextmanager
    def open_transaction(self) -> Iterator[Connection]:
        with self.database.engine.connect() as connection:
            yield connection


class _Gate:
    """Parks a transaction after some statements."""

    def __init__(self, connection: Connection, after: int) -> None:
        self._after = after
        self.statements = 0
        self.open = threading.Event()
        self._arrived = threading.Event()
        event.listen(connection, "after_cursor_execute", self._count)

    def _count(self, *_args: Any) -> None:
        self.statements += 1
        if self.statements == self._after:
            self.pass_through()

    def pass_through(self) -> None:
        """Stand here until it is opened."""
        self._arrived.set()
        assert self.open.wait(HANGS), "nobody opened"

    def wait_for(self, running: "Future[Any]") -> None:
        """Until it stands at the gate, or is done."""
        running.add_done_callback(lambda _: self._arrived.set())
        assert self._arrived.wait(HANGS), "it never came"


def _whole(operation: Operation, connection: Connection, *, commits: bool, gate: _Gate | None = None) -> Any:
    told = _run_again_after_races(operation, connection)
    if gate is not None:
        gate.pass_through()
    # As whoever opens a transaction does: a refusal rolls it back.
    is_refusal = isinstance(told, str) and told[0].isupper()
    if commits and not is_refusal:
        connection.commit()
    else:
        connection.rollback()
    return told


def _run_again_after_races(operation: Operation, connection: Connection) -> Any:
    """As whoever runs a transaction does that lost one: of a row that was deleted meanwhile, say."""
    for _ in range(MAX_RUNS - 1):
        try:
            return outcome(lambda: operation.on_store(connection))
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) not in RACES:
                raise
            connection.rollback()
    return outcome(lambda: operation.on_store(connection))


def backend_of(connection: Connection) -> int:
    pid: int = connection.connection.driver_connection.info.backend_pid  # type: ignore[union-attr]
    return pid


@contextmanager
def model_clock() -> Iterator[None]:
    """Let the store ask the model for the time, and for the id of a turn that it makes itself.

    An engine that was opened before does not notice.
    """
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(taken_up_calls, "new_id", next_id)
        patched.setitem(CLOCK_SQL, "postgresql", "model_now()")
        patched.setitem(CLOCK_SQL, "sqlite", "(SELECT now FROM model_clock)")
        yield
