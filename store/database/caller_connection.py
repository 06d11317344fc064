"""Working on a connection that belongs to the caller, so that its rows and ours commit together.

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
from psycopg.types.json import JsonbLoader
from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, scoped_session
from sqlalchemy.pool import NullPool

from conversation.errors import DatabaseUnavailable, InvalidInput
from store.database.retry_policy import RACES, Answer, answer_to, reason_of, sqlstate_of

Borrowable = Connection | Session | scoped_session[Any] | psycopg.Connection[Any]

_lent = threading.local()


@contextmanager
def borrowed(lender: Borrowable) -> Iterator[Connection]:
    """The caller's connection as one that the store understands, behind a savepoint.

    Takes an open Core `Connection`, an ORM `Session`, or a raw psycopg connection (Django's is
    `django.db.connection.connection`). Raises `InvalidInput` for anything else, and for one that
    is closed, stands in a failed transaction, or commits by itself after every statement.
    """
    with _opened(lender) as connection:
        try:
            with connection.begin_nested():
                yield connection
        except DBAPIError as error:
            # A transaction that lost a race is its owner's to run again: it must know the error.
            if answer_to(error) is Answer.RAISE or sqlstate_of(error) in RACES:
                raise
            raise DatabaseUnavailable(reason_of(error)) from error


@contextmanager
def _opened(lender: Borrowable) -> Iterator[Connection]:
    if isinstance(lender, psycopg.Connection):
        _check_usable(lender)
        with _over_psycopg(lender) as connection:
            yield connection
        return
    session = lender() if isinstance(lender, scoped_session) else lender
    connection = session.connection() if isinstance(session, Session) else session
    if not isinstance(connection, Connection):
        raise InvalidInput(
            "connection",
            f"is {type(lender).__name__}",
            "pass a SQLAlchemy Connection, an ORM Session or a psycopg connection",
        )
    driver: Any = connection.connection.driver_connection
    if getattr(driver, "autocommit", False) is True and not connection.in_transaction():
        # An engine that begins by itself, as ours does, begins with the first statement: before it, its
        # connection looks like one that never begins.
        begun = connection.begin()
        if driver.info.transaction_status is TransactionStatus.IDLE:
            begun.rollback()
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
            "connection",
            "commits after every statement",
            "open a transaction on it first, or leave connection= out",
        )


@contextmanager
def _over_psycopg(raw: psycopg.Connection[Any]) -> Iterator[Connection]:
    _lent.connection = raw
    try:
        connection = _engine_over_lent().connect()
    finally:
        del _lent.connection
    with connection:
        yield connection


@cache
def _engine_over_lent() -> Engine:
    """An engine whose every connection is the one that this thread was lent."""
    return create_engine(
        "postgresql+psycopg://",
        hide_parameters=True,
        creator=lambda: _Lent(_lent.connection),
        poolclass=NullPool,
        pool_reset_on_return=None,
        # It would look for the type on a connection of the driver's own class.
        use_native_hstore=False,
    )


class _Lent:
    """A driver connection that ignores every word about transactions: they are its owner's."""

    def __init__(self, raw: psycopg.Connection[Any]) -> None:
        self._raw = raw

    def cursor(self, *args: Any, **kwargs: Any) -> psycopg.Cursor[Any]:
        del args, kwargs
        # Frameworks change how a connection makes cursors and reads values: this one is plain.
        cursor = psycopg.Cursor(self._raw, row_factory=tuple_row)
        cursor.adapters.register_loader("jsonb", JsonbLoader)
        cursor.adapters.register_loader("timestamptz", TimestamptzLoader)
        return cursor

    def add_notice_handler(self, callback: object) -> None:
        """The owner hears the notices; one more handler with every loan would stay there for ever."""

    def commit(self) -> None:
        """The owner commits."""

    def rollback(self) -> None:
        """The owner rolls back; our own failures end at a savepoint."""

    def close(self) -> None:
        """The owner closes."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)
