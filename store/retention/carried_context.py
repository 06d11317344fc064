"""System messages that a cut would take though the thread's summary stays: no summary tells of them.

They become context of the thread, so that a model goes on reading them. What stays true: each stands
in the history or in the context, never in both; it goes when the summary does.
"""

from typing import Any

from sqlalchemy import Connection, Select, delete, select

from store.database.column_types import clock
from store.database.statements import AnyRow, insert_for
from store.tables import context, messages

#: Begins their keys; the seq that each had follows, in so many digits that the keys sort like them.
CARRIED = "system:"
_DIGITS = 12


def carry(connection: Connection, thread: AnyRow, *, to_seq: int) -> bool:
    """Copy the system messages from above the thread's cut up to `to_seq`; True if there are any."""
    found = connection.execute(
        _system(thread.key).where(messages.c.seq > thread.retention_cut, messages.c.seq <= to_seq)
    )
    rows = [
        {"thread_key": thread.key, "key": _key(row.seq), "content": row.content, "updated_at": clock()}
        for row in found
    ]
    if rows:
        statement = insert_for(connection, context).values(rows).on_conflict_do_nothing()
        connection.execute(statement)
    return bool(rows)


def take_back(connection: Connection, thread: AnyRow, *, cut: int) -> None:
    """Their messages are read again from `cut` on: they leave the context."""
    read = _system(thread.key).where(messages.c.seq > cut, messages.c.seq <= thread.retention_cut)
    keys = [_key(row.seq) for row in connection.execute(read)]
    if keys:
        connection.execute(delete(context).where(context.c.thread_key == thread.key, context.c.key.in_(keys)))


def drop(connection: Connection, thread: AnyRow) -> int:
    """Delete those whose messages stood below the thread's cut; returns how many."""
    below = (context.c.key >= _key(0)) & (context.c.key <= _key(thread.retention_cut))
    gone = delete(context).where(context.c.thread_key == thread.key, below, context.c.key.like(f"{CARRIED}%"))
    return connection.execute(gone).rowcount


def is_carried(key: str, *, above: int) -> bool:
    """Whether context of this key is a message that stood above a seq."""
    number = key.removeprefix(CARRIED)
    return key.startswith(CARRIED) and number.isdecimal() and int(number) > above


def _system(key: int) -> Select[Any]:
    return select(messages.c.seq, messages.c.content).where(
        messages.c.thread_key == key, messages.c.role == "system"
    )


def _key(seq: int) -> str:
    return f"{CARRIED}{seq:0{_DIGITS}}"
