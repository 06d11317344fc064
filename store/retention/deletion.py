"""Deleting what lies below a cut: one batch a transaction, and each looks before it deletes.

A batch is so many messages, oldest first, with the files that hang on them and the turns of which
nothing is left above it: their journals, their inputs, their idempotency keys. The thread's row goes
in a transaction of its own, when all the rest is gone and nothing came meanwhile.

What stays true: a thread that is held, at work or asked something gives nothing; every row that was
deleted is counted in one row of `audit`, written by the same transaction.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    LargeBinary,
    Select,
    Subquery,
    Table,
    cast,
    delete,
    exists,
    false,
    func,
    not_,
    select,
    true,
    tuple_,
    update,
)

from store.audit import forget_name, note
from store.database.statements import AnyRow
from store.files.garbage_collection import note_dropped
from store.history.visibility import goes_with_its_messages
from store.retention import carried_context, dropped_files
from store.retention.move_cut import is_busy
from store.tables import attachments, context, messages, steps, summaries, threads, turn_inputs, turns
from store.tables.retention import erasures, retention_cuts, retention_policies

#: Messages, or turns, of one transaction.
BATCH = 500

#: What is counted, in `audit` and in certificates.
Counts = dict[str, int]


@dataclass(frozen=True, slots=True)
class Removed:
    """What a batch came to."""

    #: What was deleted: a table's name → how many rows; `bytes` of text.
    counts: Counts = field(default_factory=dict)
    #: Nothing is left to do here, for now.
    is_over: bool = True


@dataclass(frozen=True, slots=True)
class Batch:
    """What the next batch takes."""

    thread: AnyRow
    cut: AnyRow
    to_seq: int
    messages: int
    bytes: int
    #: Ids, by position.
    turns: Sequence[str]
    #: More follows.
    is_last: bool


def next_batch(
    connection: Connection, key: int, *, erasure_id: str | None = None, limit: int = BATCH
) -> Batch | None:
    """What may be deleted next, under the lock of the thread's row; None where nothing may."""
    statement = select(threads).where(threads.c.key == key)
    thread = connection.execute(
        statement.with_for_update(key_share=True, skip_locked=erasure_id is None)
    ).one_or_none()
    if thread is None or thread.legal_hold:
        return None
    # In a statement of its own: an older snapshot would miss what the last holder committed.
    pending = select(retention_cuts, is_busy(key, thread.owner).label("is_busy"))
    cut = connection.execute(pending.where(retention_cuts.c.thread_key == key)).one_or_none()
    if cut is None or cut.is_busy or cut.erasure_id != erasure_id:
        return None
    said = _messages_of(connection, thread, cut, limit)
    to_seq, count, size = connection.execute(
        select(func.max(said.c.seq), func.count(), func.coalesce(func.sum(said.c.bytes), 0))
    ).one()
    # Turns stay until the last message that they may have is among those that go.
    to_seq = thread.retention_cut if count < limit else to_seq
    ids = connection.execute(_turns_of(thread, cut, to_seq, limit)).scalars().all()
    is_last = count < limit and len(ids) < limit
    return Batch(thread, cut, to_seq, count, size, ids, is_last)


def remove(connection: Connection, batch: Batch) -> Removed:
    """Delete a batch, and say so in `audit`. Its thread's row was locked by this transaction."""
    thread, cut = batch.thread, batch.cut
    in_batch = (messages.c.thread_key == thread.key) & (messages.c.seq > cut.deleted_to)
    in_batch &= messages.c.seq <= batch.to_seq
    files = _remove_files(connection, select(messages.c.thread_key, messages.c.id).where(in_batch))
    said = connection.execute(delete(messages).where(in_batch)).rowcount
    counts = {"messages": said, "bytes": batch.bytes, "attachments": files}
    if batch.turns:
        counts = added(counts, remove_turns(connection, batch.turns))
    connection.execute(
        update(retention_cuts)
        .where(retention_cuts.c.thread_key == thread.key)
        .values(deleted_to=batch.to_seq)
    )
    if batch.is_last and not cut.whole:
        counts = added(counts, _finish(connection, thread, cut))
    _tell(connection, thread, cut, "messages", counts, to_seq=batch.to_seq)
    return Removed(counts, is_over=batch.is_last)


def remove_next(connection: Connection, key: int, *, erasure_id: str | None = None) -> Removed | None:
    """Delete the next batch; None where nothing may be deleted now."""
    batch = next_batch(connection, key, erasure_id=erasure_id)
    return None if batch is None else remove(connection, batch)


def remove_turns(connection: Connection, ids: Sequence[str]) -> Counts:
    """Delete turns with their journals and what waited in their inbox."""
    waited = (
        select(turns.c.thread_key, turn_inputs.c.id)
        .join(turns, turn_inputs.c.turn_id == turns.c.id)
        .where(turns.c.id.in_(ids))
    )
    said = exists().where(
        messages.c.thread_key == attachments.c.thread_key, messages.c.id == attachments.c.message_id
    )
    files = _remove_files(connection, waited, not_(said))
    journal = connection.execute(delete(steps).where(steps.c.turn_id.in_(ids))).rowcount
    inputs = connection.execute(delete(turn_inputs).where(turn_inputs.c.turn_id.in_(ids))).rowcount
    gone = connection.execute(delete(turns).where(turns.c.id.in_(ids))).rowcount
    return {"turns": gone, "steps": journal, "turn_inputs": inputs, "attachments": files}


def remove_thread(connection: Connection, key: int, *, erasure_id: str | None = None) -> Removed | None:
    """Delete the row of a thread of which nothing else is left; None where it must stay, for now."""
    pending = select(threads, retention_cuts.c.whole, retention_cuts.c.policy, retention_cuts.c.erasure_id)
    row = connection.execute(
        pending.join(retention_cuts, retention_cuts.c.thread_key == threads.c.key)
        .where(threads.c.key == key)
        # Whoever is sending to it holds a share of the row: retention does not wait for them.
        .with_for_update(of=threads, skip_locked=erasure_id is None)
    ).one_or_none()
    if row is None or row.legal_hold or row.erasure_id != erasure_id:
        return None
    has_turns = exists().where(turns.c.thread_key == key)
    has_messages = exists().where(messages.c.thread_key == key)
    is_left = connection.execute(select(is_busy(key, row.owner), has_turns | has_messages)).one()
    if is_left[0] or (is_left[1] and erasure_id is not None):
        return None
    if is_left[1] or (erasure_id is None and row.last_seq > row.retention_cut):
        # Something came meanwhile: the thread lives on.
        connection.execute(
            update(retention_cuts).where(retention_cuts.c.thread_key == key).values(whole=False)
        )
        return Removed(is_over=False)
    counts = {
        "summaries": _delete_of(connection, summaries, key),
        "context": _delete_of(connection, context, key),
    }
    if erasure_id is None:
        own = (retention_policies.c.tenant == row.tenant) & (retention_policies.c.thread_id == row.id)
        connection.execute(delete(retention_policies).where(own))
    connection.execute(delete(threads).where(threads.c.key == key))
    counts["threads"] = 1
    forget_name(connection, row.tenant, row.id)
    _tell(connection, row, row, "thread", counts, to_seq=row.last_seq)
    return Removed(counts)


def added(one: Counts, other: Counts) -> Counts:
    """Both together."""
    return {
        name: one.get(name, 0) + other.get(name, 0) for name in [*one, *(n for n in other if n not in one)]
    }


def bytes_of(connection: Connection, column: Any) -> Any:
    """How long a text is, stored as UTF-8."""
    if connection.dialect.name == "postgresql":
        return func.octet_length(column)
    return func.length(cast(column, LargeBinary))


def _messages_of(connection: Connection, thread: AnyRow, cut: AnyRow, limit: int) -> Subquery:
    return (
        select(messages.c.seq, bytes_of(connection, messages.c.content).label("bytes"))
        .where(
            messages.c.thread_key == thread.key,
            messages.c.seq > cut.deleted_to,
            messages.c.seq <= thread.retention_cut,
        )
        .order_by(messages.c.seq)
        .limit(limit)
        .subquery()
    )


def _turns_of(thread: AnyRow, cut: AnyRow, to_seq: int, limit: int) -> Select[Any]:
    """Finished turns of which nothing is left above `to_seq`; of a thread that goes whole, all at its end."""
    whole = true() if cut.whole and to_seq == thread.retention_cut else false()
    goes = goes_with_its_messages(thread.key, to_seq, whole=whole)
    return select(turns.c.id).where(goes).order_by(turns.c.position).limit(limit)


def _remove_files(connection: Connection, said: Select[Any], *conditions: ColumnElement[bool]) -> int:
    """Take files off messages, named by thread and id; the blobs stay until nobody has them."""
    named = tuple_(attachments.c.thread_key, attachments.c.message_id).in_(said)
    note_dropped(connection, select(attachments.c.tenant, attachments.c.sha256).where(named, *conditions))
    gone = delete(attachments).where(named, *conditions)
    address = attachments.c.tenant, attachments.c.sha256
    files = connection.execute(gone.returning(*address, attachments.c.thread_key)).all()
    dropped_files.remember(connection, files)
    return len(files)


def _finish(connection: Connection, thread: AnyRow, cut: AnyRow) -> Counts:
    """Nothing is left below the cut: what spoke of it goes, unless the policy keeps it."""
    counts = {}
    if not cut.keep_summary:
        spoke = (summaries.c.thread_key == thread.key) & (summaries.c.from_seq <= thread.retention_cut)
        counts["summaries"] = connection.execute(delete(summaries).where(spoke)).rowcount
        counts["context"] = carried_context.drop(connection, thread)
    connection.execute(delete(retention_cuts).where(retention_cuts.c.thread_key == thread.key))
    return counts


def _delete_of(connection: Connection, table: Table, key: int) -> int:
    return connection.execute(delete(table).where(table.c.thread_key == key)).rowcount


def _tell(
    connection: Connection, thread: AnyRow, cut: AnyRow, what: str, counts: Counts, *, to_seq: int
) -> None:
    if cut.erasure_id is not None:
        count_erased(connection, cut.erasure_id, counts)
    elif any(counts.values()):
        said = {"counts": counts, "to_seq": to_seq, "policy": cut.policy}
        note(connection, thread.tenant, thread.id, f"retention.{what}_deleted", said)


def count_erased(connection: Connection, erasure_id: str, counts: Counts) -> None:
    """Add to what an erasure has removed so far."""
    of_erasure = erasures.c.id == erasure_id
    so_far = connection.execute(select(erasures.c.counts).where(of_erasure).with_for_update()).scalar_one()
    connection.execute(update(erasures).where(of_erasure).values(counts=added(so_far, counts)))
