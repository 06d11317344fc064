"""System messages below the cutoff of a thread that keeps its summary: summaries do not cover them.

They become context of the thread, so that a model goes on reading them. What stays true: each stands
in the history or in the context, never in both; it goes when the summary does.
"""

from typing import Any

from sqlalchemy import Connection, Select, delete, select

from store.database.column_types import clock
from store.database.statements import AnyRow, insert_for
from store.lineage import Lineage
from store.tables import messages, thread_context

#: Prefix of the context keys; the message's seq follows, padded so that keys sort by seq.
KEY_PREFIX = "system:"
_DIGITS = 12


def copy_to_context(connection: Connection, thread: AnyRow, *, to_seq: int) -> bool:
    """Copy system messages after the thread's cutoff, up to `to_seq`, to its context; True if any."""
    query = _select_system_messages(thread, after_seq=thread.history_starts_after, to_seq=to_seq)
    system_messages = connection.execute(query)
    context_rows = [
        {"thread_key": thread.key, "key": _context_key(row.seq), "content": row.content, "updated_at": clock()}
        for row in system_messages
    ]
    if context_rows:
        statement = insert_for(connection, thread_context).values(context_rows).on_conflict_do_nothing()
        connection.execute(statement)
    return bool(context_rows)


def remove_from_context(connection: Connection, thread: AnyRow, *, cutoff: int) -> None:
    """Delete from the context the messages above `cutoff`, which the history shows again."""
    query = _select_system_messages(thread, after_seq=cutoff, to_seq=thread.history_starts_after)
    keys = [_context_key(row.seq) for row in connection.execute(query)]
    if keys:
        connection.execute(
            delete(thread_context).where(thread_context.c.thread_key == thread.key, thread_context.c.key.in_(keys))
        )


def delete_below_cutoff(connection: Connection, thread: AnyRow) -> int:
    """Delete context copied from messages at or below the thread's cutoff; returns how many rows."""
    is_below = (thread_context.c.key >= _context_key(0)) & (
        thread_context.c.key <= _context_key(thread.history_starts_after)
    )
    statement = delete(thread_context).where(
        thread_context.c.thread_key == thread.key, is_below, thread_context.c.key.like(f"{KEY_PREFIX}%")
    )
    return connection.execute(statement).rowcount


def is_carried(key: str, *, above: int) -> bool:
    """Whether this key of context is of a system message above a seq."""
    number = key.removeprefix(KEY_PREFIX)
    return key.startswith(KEY_PREFIX) and number.isdecimal() and int(number) > above


def _select_system_messages(thread: AnyRow, *, after_seq: int, to_seq: int) -> Select[Any]:
    is_in_range = Lineage.of(thread).holds(after_seq=after_seq, to_seq=to_seq)
    return select(messages.c.seq, messages.c.content).where(is_in_range, messages.c.role == "system")


def _context_key(seq: int) -> str:
    return f"{KEY_PREFIX}{seq:0{_DIGITS}}"
