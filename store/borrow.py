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
from psycopg.types.datetime import TimestamptzLoader
from psycopg.types.json import JsonbLoader
from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from conversation.errors import InvalidInput

Borrowable = Connection | Session | psycopg.Connection[Any]

_lent = threading.local()


@contextmanager
def borrowed(lender: Borrowable) -> Iterator[Connection]:
    """The caller's connection as one that the store understands, behind a savepoint.

    Takes an open Core `Connection`, an ORM `Session`, or a raw psycopg connection (Django's is
    `django.db.connection.connection`). Raises `InvalidInput` for anything else, and for one that
    commits by itself after every statement.
    """
    if isinstance(lender, psycopg.Connection):
        with _over_psycopg(lender) as connection, connection.begin_nested():
            yield connection
        return
    connection = lender.connection() if isinstance(lender, Session) else lender
    if not isinstance(connection, Connection):
        raise InvalidInput(
            "connection",
            f"is {type(lender).__name__}",
            "pass a SQLAlchemy Connection, an ORM Session or a psycopg connection",
        )
    driver = connection.connection.driver_connection
    if getattr(driver, "autocommit", False) is True:
        raise _in_autocommit()
    with connection.begin_nested():
        yield connection


@contextmanager
def _over_psycopg(raw: psycopg.Connection[Any]) -> Iterator[Connection]:
    status = raw.info.transaction_status
    if status is TransactionStatus.INERROR:
        raise InvalidInput("connection", "is in a failed transaction", "roll it back first")
    if raw.autocommit and status is TransactionStatus.IDLE:
        raise _in_autocommit()
    _lent.connection = raw
    try:
        with _engine_over_lent().connect() as connection:
            yield connection
    finally:
        del _lent.connection


def _in_autocommit() -> InvalidInput:
    return InvalidInput(
        "connection",
        "commits after every statement",
        "open a transaction on it first, or leave connection= out",
    )


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
        cursor = psycopg.Cursor(self._raw)
        cursor.adapters.register_loader("jsonb", JsonbLoader)
        cursor.adapters.register_loader("timestamptz", TimestamptzLoader)
        return cursor

    def commit(self) -> None:
        """The owner commits."""

    def rollback(self) -> None:
        """The owner rolls back; our own failures end at a savepoint."""

    def close(self) -> None:
        """The owner closes."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)
