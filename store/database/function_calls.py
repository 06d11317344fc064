"""Calls of the store's functions in PostgreSQL, each a transaction and a round trip of its own.

SQLAlchemy's pool lends the connection, and its errors leave here; the call itself is the driver's. What stays
true: the limits of a transaction stand before each call in the same message, so that they hold behind a pooler
that assigns its connections by the transaction; nothing is prepared; a connection that was cut is not used again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, NoReturn, Self

import psycopg
from psycopg import AsyncClientCursor, ClientCursor
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import PoolProxiedConnection
from sqlalchemy.util import await_only

from store.database.retry_policy import READ_ONLY
from store.functions import SCHEMA

#: The execution option of an engine by whose connections the store works in plain statements, as on SQLite.
PLAIN_STATEMENTS = "threadmill_plain_statements"

#: Has a transaction's commit return before it is on disk. Ends with the transaction.
LAZY_COMMIT = "SET LOCAL synchronous_commit = off; "

#: SQLAlchemy's name of the driver on whose connections functions are called.
FUNCTION_DRIVER = "psycopg"


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """One call: the function with its version, and its arguments by name. JSON goes as text."""

    name: str
    arguments: Mapping[str, Any]
    #: Alone in its transaction, it returns before its commit is on disk: a server that breaks down in that moment
    #: forgets it, and a later commit that does wait keeps it.
    commits_lazily: bool = False

    @property
    def sql(self) -> str:
        """The statement, with a placeholder for each argument."""
        return _call_sql(self.name, tuple(self.arguments))

    def sql_alone(self, limits_sql: str) -> str:
        """The statements of its own transaction, behind the limits of that."""
        return f"{limits_sql}{LAZY_COMMIT if self.commits_lazily else ''}{self.sql}"


@cache
def _call_sql(name: str, argument_names: tuple[str, ...]) -> str:
    # Quoted, for `user` is a word of SQL's.
    arguments = ", ".join(f'"{each}" => %({each})s' for each in argument_names)
    return f"SELECT {SCHEMA}.{name}({arguments})"


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
        cursor = ClientCursor(borrowed.driver)
        cursor.execute(call.sql_alone(limits_sql), call.arguments)
        while cursor.nextset():
            pass
        return _value(cursor.fetchone())


def call_alone_on_loop(engine: Engine, limits_sql: str, call: FunctionCall) -> Any:
    """As `call_alone`, on the connections of an async engine's `sync_engine`, in one of SQLAlchemy's greenlets."""
    with _Borrowed(engine) as borrowed:
        return await_only(_execute(borrowed.driver, call.sql_alone(limits_sql), call.arguments))


async def _execute(driver: psycopg.AsyncConnection[Any], sql: str, arguments: Mapping[str, Any]) -> Any:
    cursor = AsyncClientCursor(driver)
    await cursor.execute(sql, arguments)
    while cursor.nextset():
        pass
    return _value(await cursor.fetchone())


def _value(row: tuple[Any, ...] | None) -> Any:
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
