"""The context of a thread as rows: system texts that hold for all of it, by key."""

from collections.abc import Collection, Mapping

from sqlalchemy import Connection, delete

from store.database.column_types import clock
from store.database.statements import insert_for
from store.tables import thread_context


def write_context(connection: Connection, key: int, texts: Mapping[str, str]) -> bool:
    """Write the context whose text changed; True if any did."""
    if not texts:
        return False
    rows = [
        {"thread_key": key, "key": name, "content": text, "updated_at": clock()} for name, text in sorted(texts.items())
    ]
    statement = insert_for(connection, thread_context).values(rows)
    excluded = statement.excluded
    upsert = statement.on_conflict_do_update(
        index_elements=["thread_key", "key"],
        set_={"content": excluded.content, "updated_at": excluded.updated_at},
        where=thread_context.c.content != excluded.content,
    )
    return bool(connection.execute(upsert.returning(thread_context.c.key)).all())


def drop_context(connection: Connection, key: int, names: Collection[str]) -> bool:
    """Remove context; True if any was there."""
    if not names:
        return False
    deletion = delete(thread_context).where(thread_context.c.thread_key == key, thread_context.c.key.in_(sorted(names)))
    return connection.execute(deletion).rowcount > 0
