"""Forks: a thread copied up to a seq into a new one.

What stays true: the copy is made by the database, in a number of statements that does not depend on
the history's length; what retention hides is not copied, and the summary that tells of it is.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, func, literal, not_, null, select, update

from conversation import ids
from conversation.arguments import check_whole_number
from conversation.errors import InvalidInput
from conversation.history import open_calls
from conversation.thread import Thread
from conversation.validation import check_id
from store.database.column_types import clock
from store.database.statements import AnyRow, insert_for
from store.history import message_rows
from store.history.counters import recount
from store.history.message_rows import SHARED_COLUMNS
from store.history.visibility import cutoff_of, is_hidden_summary
from store.tables import attachments, messages, summaries, thread_context, threads
from store.threads.repository import load
from store.threads.thread_views import ThreadView, read_view
from store.threads.visible_threads import Viewer, lock_visible_thread

#: Columns of a summary that its copy takes over.
_SUMMARY_COLUMNS = ("from_seq", "to_seq", "content", "model", "usage", "cost", "prompt_version", "sections", "report")


def fork(connection: Connection, tenant: str, thread_id: str, new_id: str, *, at: int | None = None) -> Thread:
    """Copy a thread up to and with the seq `at` into a new one; blobs are shared.

    Raises `ThreadNotFound`, and `InvalidInput` where `at` is no seq of the thread or parts a tool
    call from its result.
    """
    check_id("new_thread_id", new_id)
    if copy_thread(connection, Viewer(tenant), thread_id, new_id, at=at) is None:
        raise InvalidInput("new_thread_id", f"{new_id!r} is the id of a thread already", "pass another one")
    return load(connection, tenant, new_id)


def copy_thread(
    connection: Connection, viewer: Viewer, thread_id: str, new_id: str, *, at: int | None = None
) -> ThreadView | None:
    """As `fork`, without loading the copy; None if the new id is a thread's already."""
    source = lock_visible_thread(connection, viewer, thread_id)
    at = source.last_seq if at is None else at
    at = check_whole_number("at", at, maximum=source.last_seq, fix=f"pass a seq from 0 to {source.last_seq}")
    _check_parts_no_call(connection, source.key, at)
    key = _insert(connection, source, new_id, at)
    if key is None:
        return None
    _copy_messages(connection, source.key, key, at)
    of_source = thread_context.c.thread_key == source.key
    _copy_rows(connection, thread_context, ["key", "content", "updated_at"], key, of_source)
    summary_values = _copy_summary(connection, source, key, at)
    # To retention, the copy is as old as its messages.
    copy = update(threads).where(threads.c.key == key)
    connection.execute(copy.values(**summary_values, retained_from=message_rows.oldest_created_at(key)))
    return read_view(connection, viewer, new_id)


def _insert(connection: Connection, source: AnyRow, new_id: str, at: int) -> int | None:
    statement = insert_for(connection, threads).values(
        tenant=source.tenant,
        id=new_id,
        title=source.title,
        owner=source.owner,
        metadata=source.metadata,
        created_at=clock(),
        updated_at=clock(),
        last_seq=at,
        history_starts_after=min(at, source.history_starts_after),
        context_version=source.context_version,
        agent=source.agent,
        assigned_agent=source.assigned_agent,
        when_busy=source.when_busy,
    )
    insertion = statement.on_conflict_do_nothing(index_elements=["tenant", "id"]).returning(threads.c.key)
    key: int | None = connection.execute(insertion).scalar_one_or_none()
    return key


def _check_parts_no_call(connection: Connection, key: int, at: int) -> None:
    last_assistant_seq = select(func.max(messages.c.seq)).where(
        messages.c.thread_key == key, messages.c.seq <= at, messages.c.role == "assistant"
    )
    block = message_rows.history_rows(key, after_seq=0, to_seq=at).where(
        messages.c.seq >= last_assistant_seq.scalar_subquery()
    )
    rows = connection.execute(block.order_by(messages.c.seq))
    if open_calls(message_rows.load(connection, key, rows)):
        raise InvalidInput("at", f"{at} parts a tool call from its result", "pass the seq of the last result")


def _copy_messages(connection: Connection, source: int, key: int, at: int) -> None:
    """Copy messages and attachments, one statement a table: the rows never leave the database."""
    columns = ["seq", *SHARED_COLUMNS, *message_rows.HISTORY_COLUMNS]
    is_copied = (messages.c.thread_key == source) & (messages.c.seq <= at)
    is_copied &= (messages.c.seq > cutoff_of(source)) & messages.c.rolled_back.is_(False)
    _copy_rows(connection, messages, columns, key, is_copied)
    of_copied = attachments.c.message_id.in_(select(messages.c.id).where(is_copied))
    file_columns = ["message_id", "index", "filename", "tenant", "sha256"]
    _copy_rows(connection, attachments, file_columns, key, (attachments.c.thread_key == source) & of_copied)


def _copy_rows(
    connection: Connection, table: Table, columns: Sequence[str], key: int, is_copied: ColumnElement[bool]
) -> None:
    """Copy rows of a table to the thread of this key."""
    copied_rows = select(literal(key), *(table.c[name] for name in columns)).where(is_copied)
    connection.execute(table.insert().from_select(["thread_key", *columns], copied_rows))


def _copy_summary(connection: Connection, source: AnyRow, key: int, at: int) -> dict[str, Any]:
    """Copy the newest summary that covers nothing behind `at`; returns the values for the copy's row."""
    if source.summary_id is None:
        return {"summary_id": None, **recount(key, after_seq=min(at, source.history_starts_after))}
    newest_summary = (
        select(summaries)
        .where(
            summaries.c.thread_key == source.key,
            summaries.c.restored_at.is_(None),
            summaries.c.to_seq <= at,
            not_(is_hidden_summary(source.key)),
        )
        .order_by(summaries.c.to_seq.desc())
        .limit(1)
        .subquery()
    )
    names = ["thread_key", "id", *_SUMMARY_COLUMNS, "previous_id", "created_at"]
    copied_row = select(
        literal(key),
        literal(ids.new_id(), summaries.c.id.type),
        *(newest_summary.c[name] for name in _SUMMARY_COLUMNS),
        null(),
        newest_summary.c.created_at,
    )
    insertion = summaries.insert().from_select(names, copied_row).returning(summaries.c.id, summaries.c.to_seq)
    row = connection.execute(insertion).one_or_none()
    covered_to = 0 if row is None else max(row.to_seq, min(at, source.history_starts_after))
    return {"summary_id": None if row is None else row.id, **recount(key, after_seq=covered_to)}
