"""Forks: a thread copied up to a place into a new one.

What stays true: the copy is made by the database, in a number of statements that does not depend on
the history's length; what retention hides is not copied, and the summary that tells of it is.
"""

from typing import Any

from sqlalchemy import Connection, func, literal, not_, null, select, update

from conversation import ids
from conversation.errors import InvalidInput
from conversation.history import open_calls
from conversation.thread import Thread
from conversation.validation import check_id
from store.database.column_types import clock
from store.database.statements import AnyRow, insert_for
from store.history import message_rows
from store.history.counters import recounted
from store.history.message_rows import SAID
from store.history.visibility import cut_of, goes_with_the_cut
from store.tables import attachments, context, messages, summaries, threads
from store.threads.repository import load, locked

#: Of a summary: what its copy says as well.
_TOLD = ("from_seq", "to_seq", "content", "model", "usage", "cost", "prompt_version", "sections", "report")


def fork(
    connection: Connection, tenant: str, thread_id: str, new_id: str, *, at: int | None = None
) -> Thread:
    """Copy a thread up to and with the seq `at` into a new one; blobs are shared.

    Raises `ThreadNotFound`, and `InvalidInput` where `at` is no place or parts a tool call from its
    result.
    """
    check_id("new_thread_id", new_id)
    source = locked(connection, tenant, thread_id)
    at = source.last_seq if at is None else at
    if not isinstance(at, int) or not 0 <= at <= source.last_seq:
        raise InvalidInput("at", f"is {at}", f"pass a seq from 0 to {source.last_seq}")
    _check_parts_no_call(connection, source.key, at)
    key = _insert(connection, source, new_id, at)
    if key is None:
        raise InvalidInput("new_thread_id", f"{new_id!r} is the id of a thread already", "pass another one")
    _copy_messages(connection, source.key, key, at)
    _copy_context(connection, source.key, key)
    covered = _copy_summary(connection, source, key, at)
    # A copy makes nothing younger.
    copy = update(threads).where(threads.c.key == key)
    connection.execute(copy.values(**covered, retained_from=message_rows.oldest(key)))
    return load(connection, tenant, new_id)


def _insert(connection: Connection, source: AnyRow, new_id: str, at: int) -> int | None:
    statement = insert_for(connection, threads).values(
        tenant=source.tenant,
        id=new_id,
        title=source.title,
        metadata=source.metadata,
        created_at=clock(),
        updated_at=clock(),
        last_seq=at,
        retention_cut=min(at, source.retention_cut),
        context_version=source.context_version,
        agent=source.agent,
    )
    new = statement.on_conflict_do_nothing(index_elements=["tenant", "id"]).returning(threads.c.key)
    key: int | None = connection.execute(new).scalar_one_or_none()
    return key


def _check_parts_no_call(connection: Connection, key: int, at: int) -> None:
    asks = select(func.max(messages.c.seq)).where(
        messages.c.thread_key == key, messages.c.seq <= at, messages.c.role == "assistant"
    )
    block = message_rows.history_rows(key, after_seq=0, to_seq=at).where(
        messages.c.seq >= asks.scalar_subquery()
    )
    rows = connection.execute(block.order_by(messages.c.seq))
    if open_calls(message_rows.load(connection, key, rows)):
        raise InvalidInput("at", f"{at} parts a tool call from its result", "pass the seq of the last result")


def _copy_messages(connection: Connection, source: int, key: int, at: int) -> None:
    """One statement a table: the rows never leave the database."""
    columns = ["seq", *SAID, *message_rows.REPLIED]
    kept = (messages.c.thread_key == source) & (messages.c.seq <= at)
    kept &= messages.c.seq > cut_of(source)
    copied = select(literal(key), *(messages.c[name] for name in columns)).where(kept)
    connection.execute(messages.insert().from_select(["thread_key", *columns], copied))
    said = select(messages.c.id).where(kept)
    filed = ["message_id", "index", "filename", "tenant", "sha256"]
    connection.execute(
        attachments.insert().from_select(
            ["thread_key", *filed],
            select(literal(key), *(attachments.c[name] for name in filed)).where(
                attachments.c.thread_key == source, attachments.c.message_id.in_(said)
            ),
        )
    )


def _copy_context(connection: Connection, source: int, key: int) -> None:
    keyed = ["key", "content", "updated_at"]
    connection.execute(
        context.insert().from_select(
            ["thread_key", *keyed],
            select(literal(key), *(context.c[name] for name in keyed)).where(context.c.thread_key == source),
        )
    )


def _copy_summary(connection: Connection, source: AnyRow, key: int, at: int) -> dict[str, Any]:
    """The newest one that speaks of nothing behind `at`; returns what the copy's row says of it."""
    if source.summary_id is None:
        return {"summary_id": None, **recounted(key, behind=min(at, source.retention_cut))}
    told = (
        select(summaries)
        .where(
            summaries.c.thread_key == source.key,
            summaries.c.restored_at.is_(None),
            summaries.c.to_seq <= at,
            not_(goes_with_the_cut(source.key)),
        )
        .order_by(summaries.c.to_seq.desc())
        .limit(1)
        .subquery()
    )
    names = ["thread_key", "id", *_TOLD, "previous_id", "created_at"]
    copied = select(
        literal(key),
        literal(ids.new_id(), summaries.c.id.type),
        *(told.c[name] for name in _TOLD),
        null(),
        told.c.created_at,
    )
    new = summaries.insert().from_select(names, copied).returning(summaries.c.id, summaries.c.to_seq)
    row = connection.execute(new).one_or_none()
    behind = 0 if row is None else max(row.to_seq, min(at, source.retention_cut))
    return {"summary_id": None if row is None else row.id, **recounted(key, behind=behind)}
