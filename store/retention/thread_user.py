"""The hash of a thread's owner in what outlives the thread: archives, and files that it dropped."""

from sqlalchemy import Connection, select, update

from store.audit import hash_of
from store.tables import threads
from store.tables.retention import archives, dropped_files


def user_hash_of(connection: Connection, thread_key: int) -> str | None:
    """Load the hash of a thread's owner, as archives have it; None where the thread is nobody's."""
    query = select(threads.c.tenant, threads.c.owner).where(threads.c.key == thread_key)
    row = connection.execute(query).one_or_none()
    return None if row is None or row.owner is None else hash_of(row.tenant, row.owner)


def enter_user(connection: Connection, thread_key: int) -> str | None:
    """Enter the owner's hash in a thread's archives and dropped files that have none; returns the hash.

    Done at the end of each deletion, and before the thread's row goes: afterwards the owner is unknown.
    """
    user_sha256 = user_hash_of(connection, thread_key)
    if user_sha256 is not None:
        for table in (archives, dropped_files):
            is_without_user = (table.c.thread_key == thread_key) & table.c.user_sha256.is_(None)
            connection.execute(update(table).where(is_without_user).values(user_sha256=user_sha256))
    return user_sha256
