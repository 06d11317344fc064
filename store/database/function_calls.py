"""Calls of the store's functions in PostgreSQL, each a transaction and a round trip of its own.

SQLAlchemy's pool lends the connection, and its errors leave here; the call itself is the driver's. What stays
true: the limits of a transaction stand before each call in the same message, so that they hold behind a pooler
that assigns its connections by the transaction; nothing is prepared; a connection that was cut is not used again.
"""

import re
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, NoReturn, Self

import psycopg
from psycopg import generators
from psycopg.adapt import Transformer
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import PoolProxiedConnection
from sqlalchemy.util import await_only

from store.database.retry_policy import READ_ONLY
from store.functions import SCHEMA

#: The execution option of an engine by whose connections the store works in plain statements, as on SQLite.
PLAIN_STATEMENTS = "threadmill_plain_statements"

#: Has a transaction's commit return before it is on disk. Ends with the transaction.
LAZY_COMMIT = b"SET LOCAL synchronous_commit = off; "

_PLACEHOLDER = re.compile(r"%\(\w+\)s")

#: SQLAlchemy's name of the driver on whose connections functions are called.
FUNCTION_DRIVER = "psycopg"


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """One call: a function with its version, and arguments by name, in the order of its parameters. JSON goes as text.

    PostgreSQL is told them by their places: to find some thirty by their names took a twentieth of its time for a turn.
    """

    name: str
    arguments: Mapping[str, Any]
    #: Alone in its transaction, it returns before its commit is on disk: a server that breaks down in that moment
    #: forgets it, and a later commit that does wait keeps it.
    commits_lazily: bool = False
    #: The row that it locks, as values that sort: on an event loop, calls of one function that lock a row each may
    #: share a transaction, in this order. () of one that shares none.
    locks: tuple[Any, ...] = ()
    #: Where it may share one, all of its function take half of the connections at most: what else is done comes first.
    leaves_half: bool = False

    @property
    def sql(self) -> str:
        """The statement, with a placeholder for each argument."""
        return _call_sql(self.name, tuple(self.arguments))

    def render(self, transformer: Any) -> bytes:
        """The call as a statement with its arguments in it; `transformer` is the driver's, of the connection."""
        words: list[bytes] = []
        *starts, end = _call_pieces(self.name, tuple(self.arguments))
        for start, value in zip(starts, self.arguments.values(), strict=True):
            words += (start, b"NULL" if value is None else transformer.as_literal(value))
        return b"".join([*words, end])


@cache
def _call_sql(name: str, argument_names: tuple[str, ...]) -> str:
    arguments = ", ".join(f"%({each})s" for each in argument_names)
    return f"SELECT {SCHEMA}.{name}({arguments})"


@cache
def _call_pieces(name: str, argument_names: tuple[str, ...]) -> tuple[bytes, ...]:
    """Text before each argument of a call, and behind the last."""
    return tuple(piece.encode() for piece in _PLACEHOLDER.split(_call_sql(name, argument_names)))


def has_functions(connection: Connection) -> bool:
    """Whether the store calls its functions on this connection: PostgreSQL's, unless its engine says otherwise.

    Only over psycopg: a caller's own connection may be another driver's, which writes arguments in another way.
    """
    options = connection.get_execution_options()
    return connection.dialect.driver == FUNCTION_DRIVER and not options.get(PLAIN_STATEMENTS, False)


def call_within(connection: Connection, call: FunctionCall) -> Any:
    """Call a function in the transaction of a connection; returns its value, out of JSON where it is JSON."""
    return connection.exec_driver_sql(call.sql, dict(call.arguments)).scalar_one()


def call_alone(engine: Engine, limits_sql: str, call: FunctionCall) -> Any:
    """Call a function in a transaction of its own. Raises SQLAlchemy's errors, as its connections do."""
    with _Borrowed(engine) as borrowed:
        transformer = Transformer(borrowed.driver)
        message = _render_message(transformer, limits_sql, [call])
        results = _check(borrowed.driver.wait(_exchange(borrowed.driver.pgconn, message)))
    return _read(transformer, results[-1])


def call_on_loop(engine: Engine, limits_sql: str, calls: Sequence[FunctionCall]) -> list[Callable[[], Any]]:
    """Call functions, all in one transaction, on the connections of an async engine's `sync_engine`.

    Returns a reader of each value: the transaction is committed, and who cannot read one value can read the others.
    Raises as `call_alone`; only in one of SQLAlchemy's greenlets.
    """
    with _Borrowed(engine) as borrowed:
        transformer = Transformer(borrowed.driver)
        message = _render_message(transformer, limits_sql, calls)
        results = _check(await_only(borrowed.driver.wait(_exchange(borrowed.driver.pgconn, message))))
    return [partial(_read, transformer, result) for result in results[-len(calls) :]]


def _render_message(transformer: Any, limits_sql: str, calls: Sequence[FunctionCall]) -> bytes:
    """The message of calls that have a transaction to themselves, behind its limits."""
    lazy_commit = LAZY_COMMIT if all(call.commits_lazily for call in calls) else b""
    return limits_sql.encode() + lazy_commit + b"; ".join([call.render(transformer) for call in calls])


def _exchange(connection: Any, message: bytes) -> Generator[Any, Any, list[Any]]:
    """Send a message of several statements, and take all of its results. Without a cursor, whose work it is half of."""
    connection.send_query(message)
    results: list[Any] = yield from generators.execute(connection)
    return results


def _check(results: list[Any]) -> list[Any]:
    """The results of a message. Raises the driver's error where a statement failed, which is the last one then."""
    if results[-1].status != ExecStatus.TUPLES_OK:
        raise error_from_result(results[-1])
    return results


def _read(transformer: Any, result: Any) -> Any:
    """The value of a call."""
    transformer.set_pgresult(result)
    row = transformer.load_row(0, tuple)
    assert row is not None, "SELECT of a function's value has one row"
    return row[0]


class _Borrowed:
    """A pooled connection for one call, given back whole, or thrown away."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._pooled: PoolProxiedConnection | None = None

    @property
    def driver(self) -> Any:
        """The driver's own connection."""
        assert self._pooled is not None, "borrowed by `with`"
        return self._pooled.driver_connection

    def __enter__(self) -> Self:
        try:
            self._pooled = self._engine.raw_connection()
        except psycopg.Error as error:
            self._raise_wrapped(error)
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        pooled, self._pooled = self._pooled, None
        assert pooled is not None, "borrowed by `with`"
        if error is None:
            # The call's transaction has ended with its message: a ROLLBACK would find none.
            pooled._close_special(transaction_reset=True)  # noqa: SLF001 - as SQLAlchemy's own connections are closed
            return
        try:
            if isinstance(error, psycopg.Error):
                self._raise_wrapped(error, pooled)
            if error is not None:
                # Broken off in the middle of the call: nobody knows in what state it is.
                pooled.invalidate()
        finally:
            pooled.close()

    def _raise_wrapped(self, error: psycopg.Error, pooled: PoolProxiedConnection | None = None) -> NoReturn:
        """Raise SQLAlchemy's error for the driver's; after a cut, each pooled connection is opened anew."""
        is_cut = self._is_cut(error, pooled)
        if is_cut and pooled is not None:
            # As SQLAlchemy does it: whatever cut this connection has cut the others, too.
            self._engine.pool._invalidate(pooled, error)  # noqa: SLF001 - no public name
        if error.diag.message_primary is not None:
            # PostgreSQL quotes the refused row in an error's details, and it holds messages.
            error.args = (error.diag.message_primary,)
        raise DBAPIError.instance(
            None, None, error, psycopg.Error, hide_parameters=True, connection_invalidated=is_cut
        ) from error

    def _is_cut(self, error: psycopg.Error, pooled: PoolProxiedConnection | None) -> bool:
        if pooled is None:
            return False
        # A server that was demoted under its connections: none of them will write again.
        dialect: Any = self._engine.dialect
        return error.sqlstate == READ_ONLY or bool(dialect.is_disconnect(error, pooled.dbapi_connection, None))
