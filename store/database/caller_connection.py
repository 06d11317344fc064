"""Our statements on a connection that belongs to the caller, so that its rows and ours commit together.

What stays true: nothing here begins, commits, rolls back or closes the caller's transaction. Our
statements run behind a savepoint, so that whatever goes wrong with them leaves its earlier rows
as they were.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import tuple_row
from psycopg.types.datetime import TimestamptzLoader
from psycopg.types.json import JsonbLoader, JsonLoader
from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, scoped_session
from sqlalchemy.pool import NullPool

from conversation.errors import DatabaseUnavailable, InvalidInput
from store.database.retry_policy import RACES, UNSENDABLE, FailureAction, action_for, reason_of, refusal_of, sqlstate_of

CallerConnection = Connection | Session | scoped_session[Any] | psycopg.Connection[Any]

_caller = threading.local()


@contextmanager
def borrow_connection(caller_connection: CallerConnection) -> Iterator[Connection]:
    """The caller's connection as one that the store understands, behind a savepoint.

    Takes an open Core `Connection`, an ORM `Session`, or a raw psycopg connection (Django's is
    `django.db.connection.connection`). Raises `InvalidInput` for anything else, and for a
    connection that is closed, stands in a failed transaction, or commits by itself after every statement.
    """
    with _open_connection(caller_connection) as connection:
        try:
            with connection.begin_nested():
                yield connection
        except DBAPIError as error:
            # A transaction that lost a race is its owner's to run again: the owner must see the error.
            if sqlstate_of(error) in RACES:
                raise
            if action_for(error) is FailureAction.REFUSE:
                raise refusal_of(error) from error
            raise DatabaseUnavailable(reason_of(error)) from error
        except UNSENDABLE as error:
            raise refusal_of(error) from error


@contextmanager
def _open_connection(caller_connection: CallerConnection) -> Iterator[Connection]:
    if isinstance(caller_connection, psycopg.Connection):
        _check_usable(caller_connection)
        with _wrap_psycopg(caller_connection) as connection:
            yield connection
        return
    session = caller_connection() if isinstance(caller_connection, scoped_session) else caller_connection
    connection = session.connection() if isinstance(session, Session) else session
    if not isinstance(connection, Connection):
        raise InvalidInput(
            "connection",
            f"is {type(caller_connection).__name__}",
            "pass a SQLAlchemy Connection, an ORM Session or a psycopg connection",
        )
    driver: Any = connection.connection.driver_connection
    if getattr(driver, "autocommit", False) is True and not connection.in_transaction():
        # An engine that begins by itself, as ours does, begins with the first statement: before it, its
        # connection looks like one that never begins.
        transaction = connection.begin()
        if driver.info.transaction_status is TransactionStatus.IDLE:
            transaction.rollback()
    _check_usable(driver)
    yield connection


def _check_usable(driver: Any) -> None:
    status = None
    if isinstance(driver, psycopg.Connection | psycopg.AsyncConnection):
        status = driver.info.transaction_status
    if status is TransactionStatus.UNKNOWN:
        raise InvalidInput("connection", "is closed", "pass an open one")
    if status is TransactionStatus.INERROR:
        raise InvalidInput("connection", "is in a failed transaction", "roll it back first")
    # Inside a transaction that was begun by hand, autocommit means nothing.
    if getattr(driver, "autocommit", False) is True and status is not TransactionStatus.INTRANS:
        raise InvalidInput(
            "connection", "commits after every statement", "open a transaction on it first, or leave connection= out"
        )


@contextmanager
def _wrap_psycopg(raw: psycopg.Connection[Any]) -> Iterator[Connection]:
    _caller.connection = raw
    try:
        connection = _engine_for_caller().connect()
    finally:
        del _caller.connection
    with connection:
        yield connection


@cache
def _engine_for_caller() -> Engine:
    """An engine whose every connection is the caller's, as set for this OS thread."""
    return create_engine(
        "postgresql+psycopg://",
        hide_parameters=True,
        creator=lambda: _CallerOwnedConnection(_caller.connection),
        poolclass=NullPool,
        pool_reset_on_return=None,
        # SQLAlchemy would query the type on a connection of the driver's own class.
        use_native_hstore=False,
    )


class _CallerOwnedConnection:
    """A driver connection that ignores commit, rollback and close: transactions are its owner's."""

    def __init__(self, raw: psycopg.Connection[Any]) -> None:
        self._raw = raw

    def cursor(self, *args: Any, **kwargs: Any) -> psycopg.Cursor[Any]:
        del args, kwargs
        # Frameworks change how a connection makes cursors and reads values: this one is plain.
        cursor = psycopg.Cursor(self._raw, row_factory=tuple_row)
        cursor.adapters.register_loader("json", JsonLoader)
        cursor.adapters.register_loader("jsonb", JsonbLoader)
        cursor.adapters.register_loader("timestamptz", TimestamptzLoader)
        return cursor

    def add_notice_handler(self, callback: object) -> None:
        """Add no handler: the owner gets the notices, and each call would leave one more behind."""

    def commit(self) -> None:
        """Do nothing: the owner commits."""

    def rollback(self) -> None:
        """Do nothing: the owner rolls back; our own failures end at a savepoint."""

    def close(self) -> None:
        """Do nothing: the owner closes."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)
