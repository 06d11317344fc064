"""The user of a thread: the text in its metadata under the key of THREADMILL_USER_METADATA_KEY.

What stays true: a number or a boolean is the text that JSON has for it, on both databases. On PostgreSQL
the expression is that of an index, word for word, as long as the key is the default.
"""

from typing import Any

from sqlalchemy import ColumnElement, Connection, String, case, cast, func, literal_column, select, update

from store.audit import hash_of
from store.tables import threads
from store.tables.retention import archives, dropped_files


def user_of(connection: Connection, key: str) -> ColumnElement[Any]:
    """The user of a row of `threads`; null where there is none. The key was checked with the settings."""
    if connection.dialect.name == "postgresql":
        return literal_column(f"(threads.metadata ->> '{key}')")
    path = f'$."{key}"'
    kind = func.json_type(threads.c.metadata, path)
    # SQLite has no booleans: it would say 1 and 0.
    value_text = cast(func.json_extract(threads.c.metadata, path), String)
    return case((kind.in_(["true", "false"]), kind), else_=value_text)


def user_hash_of(connection: Connection, thread_key: int, user_key: str) -> str | None:
    """Load the hash of a thread's user, as archives have it; None where the thread names no user."""
    query = select(threads.c.tenant, user_of(connection, user_key).label("user"))
    row = connection.execute(query.where(threads.c.key == thread_key)).one_or_none()
    return None if row is None or row.user is None else hash_of(row.tenant, row.user)


def enter_user(connection: Connection, thread_key: int, user_key: str) -> str | None:
    """Enter the user's hash in a thread's archives and dropped files that have none; returns the hash.

    Done at the end of each deletion, and before the thread's row goes: afterwards the user is unknown.
    """
    user_sha256 = user_hash_of(connection, thread_key, user_key)
    if user_sha256 is not None:
        for table in (archives, dropped_files):
            is_without_user = (table.c.thread_key == thread_key) & table.c.user_sha256.is_(None)
            connection.execute(update(table).where(is_without_user).values(user_sha256=user_sha256))
    return user_sha256
