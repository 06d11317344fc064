"""Whose a thread is: what its metadata has, as text, under the key that THREADMILL_USER_METADATA_KEY names.

What stays true: a number or a boolean is the text that JSON has for it, on both databases. On PostgreSQL
the expression is that of an index, word for word, as long as the key is the default.
"""

from typing import Any

from sqlalchemy import ColumnElement, Connection, String, case, cast, func, literal_column, select, update

from store.audit import hash_of
from store.tables import threads
from store.tables.retention import archives, dropped_files


def user_of(connection: Connection, key: str) -> ColumnElement[Any]:
    """The user of a row of `threads`; null where it names none. The key was checked with the settings."""
    if connection.dialect.name == "postgresql":
        return literal_column(f"(threads.metadata ->> '{key}')")
    path = f'$."{key}"'
    kind = func.json_type(threads.c.metadata, path)
    # SQLite has no booleans: it would say 1 and 0.
    said = cast(func.json_extract(threads.c.metadata, path), String)
    return case((kind.in_(["true", "false"]), kind), else_=said)


def hashed_user(connection: Connection, thread_key: int, user_key: str) -> str | None:
    """What stands for a thread's user in its archives; None where it names none."""
    named = select(threads.c.tenant, user_of(connection, user_key).label("user"))
    row = connection.execute(named.where(threads.c.key == thread_key)).one_or_none()
    return None if row is None or row.user is None else hash_of(row.tenant, row.user)


def enter_user(connection: Connection, thread_key: int, user_key: str) -> str | None:
    """Have what a thread leaves behind name its user where it names none; returns the user's hash.

    That is its archives, and the files that it dropped. Done at the end of each cut, and before the
    thread's row goes: afterwards nobody knows whose they are.
    """
    user_sha256 = hashed_user(connection, thread_key, user_key)
    if user_sha256 is not None:
        for left in (archives, dropped_files):
            nameless = (left.c.thread_key == thread_key) & left.c.user_sha256.is_(None)
            connection.execute(update(left).where(nameless).values(user_sha256=user_sha256))
    return user_sha256
