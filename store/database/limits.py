"""The limits of connections and transactions on PostgreSQL: how long each may take, be silent, or wait.

What stays true: a transaction has the limits of the settings, whatever the URL, the environment of libpq, the role or
the session says.
"""

import re
from math import ceil
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.engine import URL

from conversation.errors import InvalidSettings
from store.settings import Settings

#: Seconds that a transaction of ours may be silent, at least, before the server gives it up and frees
#: its locks: its client was stopped, or its machine is gone.
MIN_IDLE_IN_TRANSACTION_SECONDS = 10
#: Each limit, and the setting that it follows.
LIMITS = {
    "lock_timeout": "THREADMILL_DB_LOCK_TIMEOUT_SECONDS",
    "statement_timeout": "THREADMILL_DB_STATEMENT_TIMEOUT_SECONDS",
    "idle_in_transaction_session_timeout": "THREADMILL_DB_STATEMENT_TIMEOUT_SECONDS",
    "transaction_timeout": "THREADMILL_DB_STATEMENT_TIMEOUT_SECONDS",
}
#: libpq's way to notice that the server's machine is gone, instead of waiting for it for hours: ask
#: after so many seconds of silence, so often.
KEEPALIVE = {"keepalives": 1, "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3}
#: Seconds in which the server's machine must acknowledge what it was sent, at least.
MIN_TCP_USER_TIMEOUT_SECONDS = 10


def postgres_arguments(url: URL, settings: Settings) -> dict[str, Any]:
    """The arguments that each connection is opened with. The URL's own parameters win."""
    tcp_timeout_seconds = max(settings.db_statement_timeout_seconds, MIN_TCP_USER_TIMEOUT_SECONDS)
    arguments: dict[str, Any] = {
        "connect_timeout": settings.db_connect_timeout_seconds,
        "application_name": "threadmill",
        "tcp_user_timeout": ceil(tcp_timeout_seconds * 1000),
        **KEEPALIVE,
    }
    return {
        **{name: value for name, value in arguments.items() if name not in url.query},
        # We begin, not the driver: see `begin_sql`.
        "autocommit": True,
        # A prepared statement costs a round trip of its own and breaks behind a transaction pooler.
        "prepare_threshold": None,
    }


def check_options(url: URL) -> None:
    """Refuse a URL whose options name a limit of ours: it would be there in vain, and look as if it counted."""
    options = url.query.get("options", ())
    text = options if isinstance(options, str) else " ".join(options)
    for name, setting in LIMITS.items():
        # In options, a dash stands for an underscore as well.
        written_name = name.replace("_", "[-_]")
        if re.search(rf"(?:^|\s)(?:-c\s*|--){written_name}\s*=", text, re.IGNORECASE):
            raise InvalidSettings(f"THREADMILL_DATABASE_URL: {name} in its options has no effect; set {setting}")


def begin_sql(settings: Settings) -> str:
    """The SQL that begins each transaction on PostgreSQL, with its limits, in the same round trip.

    In start-up options a pooler would refuse the limits; set for the session they would be lost, or
    another client's, behind a pooler that assigns its connections by the transaction.
    """
    idle_seconds = max(settings.db_statement_timeout_seconds, MIN_IDLE_IN_TRANSACTION_SECONDS)
    idle_limit = _limit_statement("idle_in_transaction_session_timeout", idle_seconds)
    return "; ".join(["BEGIN", *limit_statements(settings), idle_limit])


def limit_lock_waits(connection: Connection, seconds: float) -> None:
    """Limit how long what follows in a transaction waits for each lock; SQLite has one lock, and its own limit."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(_limit_statement("lock_timeout", seconds))


def limit_statements(settings: Settings, *, lock_seconds: float | None = None) -> list[str]:
    """The statements that bound what follows in a transaction; its waits for locks by the setting, if by no other."""
    return [
        _limit_statement("lock_timeout", settings.db_lock_timeout_seconds if lock_seconds is None else lock_seconds),
        _limit_statement("statement_timeout", settings.db_statement_timeout_seconds),
    ]


def limits_sql(settings: Settings, *, lock_seconds: float | None = None) -> str:
    """The same, as the beginning of a message."""
    return "".join(f"{statement}; " for statement in limit_statements(settings, lock_seconds=lock_seconds))


def _limit_statement(name: str, seconds: float) -> str:
    # Rounded up: to the server, 0 milliseconds is no limit at all.
    return f"SET LOCAL {name} = {ceil(seconds * 1000)}"
