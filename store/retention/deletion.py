"""Deletion of messages below a cutoff: one batch a transaction, each checked before it is deleted.

A batch is so many messages, oldest first, with the files that hang on them and the turns of which
nothing is left above it: their journals, their inputs, their idempotency keys. What branches and forks
share is passed over; when the last of them is gone, the deletion is opened again (`sharing`). The thread's
row goes in a transaction of its own, when all else is deleted and nothing was sent meanwhile; where others
share its history, it stays for them, as nobody's.

What stays true: nothing is deleted of a thread that is held, at work or has an unfinished turn, nor what
another one shows; every row that was deleted is counted in one row of `audit`, written by the same transaction.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Connection, LargeBinary, Select, Table
from sqlalchemy.sql import case, cast, delete, exists, false, func, not_, select, true, tuple_, update

from store.audit import pseudonymize_thread, write_audit_row
from store.database.statements import AnyRow
from store.files.garbage_collection import note_dropped
from store.history.arrival_order import first_turns
from store.history.row_ids import thread_id_of
from store.history.visibility import is_deleted_with_messages
from store.lineage import Lineage, row_lineage, select_range
from store.retention import carried_context, dropped_files, sharing
from store.retention.move_cut import is_busy
from store.retention.row_removal import is_turn_shared, remove_row
from store.retention.sharing import Range
from store.tables import attachments, inbox_messages, messages, steps, summaries, threads, turns
from store.tables.retention import erasures, pending_deletions, retention_policies

#: Messages, or turns, of one transaction.
BATCH_MAX_ROWS = 500

#: Deleted rows by table, and bytes, as in `audit` and in certificates.
Counts = dict[str, int]


@dataclass(frozen=True, slots=True)
class BatchOutcome:
    """The outcome of deleting one batch, or the row of a thread."""

    #: Deleted rows: a table's name → how many; `bytes` of text.
    counts: Counts = field(default_factory=dict)
    #: Nothing is left to do here, for now.
    is_over: bool = True


@dataclass(frozen=True, slots=True)
class Batch:
    """The messages and turns of the next batch, of a thread that is locked."""

    thread: AnyRow
    pending_deletion: AnyRow
    #: Its messages are those behind this seq, up to and with `to_seq`.
    after_seq: int
    to_seq: int
    messages: int
    #: Of those of the messages that are deleted.
    bytes: int
    #: Ids, by position.
    turns: Sequence[str]
    #: No batch follows.
    is_last: bool
    #: What others share of the thread's own messages.
    shared: Sequence[Range] = ()

    @property
    def is_archived(self) -> bool:
        """Whether it is in the thread's archive already: it was shared when the deletion came by first."""
        return bool(self.after_seq < self.pending_deletion.deleted_to)


def lock_next_batch(
    connection: Connection, key: int, *, erasure_id: str | None = None, limit: int = BATCH_MAX_ROWS
) -> Batch | None:
    """Lock the thread's row and load what may be deleted next; None where nothing may."""
    statement = select(threads).where(threads.c.key == key)
    thread = connection.execute(statement.with_for_update(key_share=True, skip_locked=erasure_id is None)).one_or_none()
    if thread is None or thread.legal_hold:
        return None
    # In a statement of its own: an older snapshot would miss what the last holder committed.
    state = is_busy(key, thread.lease_owner).label("is_busy"), sharing.is_shared(key).label("is_shared")
    query = select(pending_deletions, *state)
    pending_deletion = connection.execute(query.where(pending_deletions.c.thread_key == key)).one_or_none()
    if pending_deletion is None or pending_deletion.is_busy or pending_deletion.erasure_id != erasure_id:
        return None
    shared = sharing.list_shared_ranges(connection, key) if pending_deletion.is_shared else []
    after_seq = pending_deletion.deleted_to
    to_seq, count, size = _measure(connection, _select_messages(connection, thread, pending_deletion, shared, limit))
    if not count:
        # What was shared when the deletion came by, and is free by now.
        after_seq = 0
        to_seq, count, size = _measure(connection, _select_freed_messages(connection, thread, shared, limit))
    if to_seq is None or count < limit:
        # Turns stay until the last message that they may have is among those that go.
        to_seq = int(thread.history_starts_after)
    ids = connection.execute(_select_turns(thread, pending_deletion, to_seq, limit, shared)).scalars().all()
    return Batch(
        thread=thread,
        pending_deletion=pending_deletion,
        after_seq=after_seq,
        to_seq=to_seq,
        messages=count,
        bytes=size,
        turns=ids,
        is_last=count < limit and len(ids) < limit,
        shared=shared,
    )


def _measure(connection: Connection, hidden: Select[Any]) -> tuple[int | None, int, int]:
    """The last seq of messages, their number, and the bytes of those that are deleted."""
    columns = hidden.subquery().c
    size = func.coalesce(func.sum(case((columns.is_deleted, columns.bytes), else_=0)), 0)
    to_seq, count, size = connection.execute(select(func.max(columns.seq), func.count(), size)).one()
    return to_seq, count, size


def _select_messages(
    connection: Connection, thread: AnyRow, pending_deletion: AnyRow, shared: Sequence[Range], limit: int
) -> Select[Any]:
    """The next hidden messages, behind what was deleted: a thread is archived with all that it shows, shared or not."""
    is_deleted = (messages.c.thread_key == thread.key) & sharing.is_free(shared)
    return select_range(
        Lineage.of(thread) if pending_deletion.archive else row_lineage(thread.key),
        _measured_columns(connection, is_deleted),
        after_seq=min(pending_deletion.deleted_to, thread.history_starts_after),
        to_seq=thread.history_starts_after,
        where=[] if pending_deletion.archive else [is_deleted],
        limit=limit,
    )


def _select_freed_messages(connection: Connection, thread: AnyRow, shared: Sequence[Range], limit: int) -> Select[Any]:
    is_deleted = (messages.c.thread_key == thread.key) & sharing.is_free(shared)
    below = messages.c.seq <= thread.history_starts_after
    statement = select(*_measured_columns(connection, is_deleted)).where(is_deleted, below)
    return statement.order_by(messages.c.seq).limit(limit)


def _measured_columns(connection: Connection, is_deleted: ColumnElement[bool]) -> list[ColumnElement[Any]]:
    size = bytes_of(connection, messages.c.content).label("bytes")
    return [messages.c.seq, is_deleted.label("is_deleted"), size]


def remove_batch(connection: Connection, batch: Batch) -> BatchOutcome:
    """Delete a batch, and record it in `audit`. Its thread's row was locked by this transaction."""
    thread, pending_deletion = batch.thread, batch.pending_deletion
    in_batch = (messages.c.thread_key == thread.key) & (messages.c.seq > batch.after_seq)
    in_batch &= (messages.c.seq <= batch.to_seq) & sharing.is_free(batch.shared)
    file_count = _remove_files(connection, select(messages.c.thread_key, messages.c.id).where(in_batch))
    message_count = connection.execute(delete(messages).where(in_batch)).rowcount
    counts = {"messages": message_count, "bytes": batch.bytes, "attachments": file_count}
    if batch.turns:
        counts = add_counts(counts, remove_turns(connection, batch.turns))
    deleted_to = max(pending_deletion.deleted_to, batch.to_seq)
    connection.execute(
        update(pending_deletions).where(pending_deletions.c.thread_key == thread.key).values(deleted_to=deleted_to)
    )
    if batch.is_last and not pending_deletion.whole:
        counts = add_counts(counts, _finish_deletion(connection, thread, pending_deletion))
    _record_counts(connection, thread, pending_deletion, "messages", counts, to_seq=batch.to_seq)
    return BatchOutcome(counts, is_over=batch.is_last)


def remove_next_batch(connection: Connection, key: int, *, erasure_id: str | None = None) -> BatchOutcome | None:
    """Delete the next batch; None where nothing may be deleted now."""
    batch = lock_next_batch(connection, key, erasure_id=erasure_id)
    return None if batch is None else remove_batch(connection, batch)


def remove_turns(connection: Connection, ids: Sequence[str]) -> Counts:
    """Delete turns with their journals and what waited in their inbox."""
    inbox_ids = (
        select(turns.c.thread_key, inbox_messages.c.id)
        .join(turns, inbox_messages.c.turn_id == turns.c.id)
        .where(turns.c.id.in_(ids))
    )
    is_in_history = exists().where(
        messages.c.thread_key == attachments.c.thread_key, messages.c.id == attachments.c.message_id
    )
    file_count = _remove_files(connection, inbox_ids, not_(is_in_history))
    step_count = connection.execute(delete(steps).where(steps.c.turn_id.in_(ids))).rowcount
    input_count = connection.execute(delete(inbox_messages).where(inbox_messages.c.turn_id.in_(ids))).rowcount
    turn_count = connection.execute(delete(turns).where(turns.c.id.in_(ids))).rowcount
    return {"turns": turn_count, "steps": step_count, "inbox_messages": input_count, "attachments": file_count}


def remove_thread(connection: Connection, key: int, *, erasure_id: str | None = None) -> BatchOutcome | None:
    """Delete the row of a thread of which nothing else is left; None where it must stay, for now.

    What others share of it is left to them.
    """
    thread = _lock_thread(connection, key, erasure_id)
    if thread is None or thread.legal_hold or thread.erasure_id != erasure_id:
        return None
    state = connection.execute(_select_state(thread)).one()
    has_rows = state.has_rows and (not state.is_shared or _has_own_rows(connection, key))
    if state.is_busy or (has_rows and erasure_id is not None) or (state.has_branches and not state.keeps_branches):
        # Branches that go as well go before the thread.
        return None
    is_written_to = erasure_id is None and thread.last_seq > thread.history_starts_after
    if has_rows or state.keeps_branches or is_written_to:
        # A message was sent meanwhile: the thread stays.
        connection.execute(update(pending_deletions).where(pending_deletions.c.thread_key == key).values(whole=False))
        return BatchOutcome(is_over=False)
    counts = _delete_thread_rows(connection, thread)
    pseudonymize_thread(connection, thread.tenant, thread.id)
    _record_counts(connection, thread, thread, "thread", counts, to_seq=thread.last_seq)
    return BatchOutcome(counts)


def _select_state(thread: AnyRow) -> Select[Any]:
    """The state of a thread that is to go: what is left of it, and which branches it has."""
    branch = threads.alias("branch")
    is_branch = exists().where(branch.c.root_key == thread.key, branch.c.deleted_at.is_(None))
    goes = exists().where(pending_deletions.c.thread_key == branch.c.key, pending_deletions.c.whole)
    has_messages = exists().where(messages.c.thread_key == thread.key)
    return select(
        is_busy(thread.key, thread.lease_owner).label("is_busy"),
        (has_messages | exists().where(turns.c.thread_key == thread.key)).label("has_rows"),
        sharing.is_shared(thread.key).label("is_shared"),
        is_branch.label("has_branches"),
        # Something was said there meanwhile.
        is_branch.where(not_(goes.correlate(branch))).label("keeps_branches"),
    )


def _has_own_rows(connection: Connection, key: int) -> bool:
    """Whether a thread has messages or turns that nobody shares."""
    shared = sharing.list_shared_ranges(connection, key)
    has_messages = exists().where(messages.c.thread_key == key, sharing.is_free(shared))
    of_thread = exists().where(turns.c.thread_key == key)
    has_turns = of_thread.where(not_(is_turn_shared(key, shared))) if shared else of_thread
    return bool(connection.execute(select(has_turns | has_messages)).scalar_one())


def _lock_thread(connection: Connection, key: int, erasure_id: str | None) -> AnyRow | None:
    """Lock the row of a thread with a pending deletion, and load both."""
    query = select(threads, pending_deletions.c.whole, pending_deletions.c.policy, pending_deletions.c.erasure_id)
    return connection.execute(
        query.join(pending_deletions, pending_deletions.c.thread_key == threads.c.key)
        .where(threads.c.key == key)
        # A sender holds a share lock of the row: retention does not wait for senders.
        .with_for_update(of=threads, skip_locked=erasure_id is None)
    ).one_or_none()


def _delete_thread_rows(connection: Connection, thread: AnyRow) -> Counts:
    """Delete a thread's row and what hangs on it; an erasure leaves the thread's own policy for its end."""
    if thread.erasure_id is None:
        of_own_policy = (retention_policies.c.tenant == thread.tenant) & (retention_policies.c.thread_id == thread.id)
        connection.execute(delete(retention_policies).where(of_own_policy))
    return remove_row(connection, thread, with_thread=thread.root_key is None, erasure_id=thread.erasure_id)


def add_counts(one: Counts, other: Counts) -> Counts:
    """The sums of two counts, name by name."""
    return {name: one.get(name, 0) + other.get(name, 0) for name in [*one, *(n for n in other if n not in one)]}


def bytes_of(connection: Connection, column: Any) -> Any:
    """The length of a text in bytes, as UTF-8."""
    if connection.dialect.name == "postgresql":
        return func.octet_length(column)
    return func.length(cast(column, LargeBinary))


def _select_turns(
    thread: AnyRow, pending_deletion: AnyRow, to_seq: int, limit: int, shared: Sequence[Range]
) -> Select[Any]:
    """Finished turns of which nothing is left above `to_seq`; of a thread that goes whole, all at its end.

    Those of which others share a message stay: what these show of their history tells of its turns.
    """
    whole = true() if pending_deletion.whole and to_seq == thread.history_starts_after else false()
    is_removable = is_deleted_with_messages(thread.key, to_seq, whole=whole)
    if shared:
        is_removable &= not_(is_turn_shared(thread.key, shared))
    return select(first_turns(select(turns.c.id, turns.c.arrival_seq).where(is_removable), turns, limit=limit).c.id)


def _remove_files(connection: Connection, message_ids: Select[Any], *conditions: ColumnElement[bool]) -> int:
    """Delete attachments of messages, by thread and id; a blob stays until its last attachment is deleted."""
    of_messages = tuple_(attachments.c.thread_key, attachments.c.message_id).in_(message_ids)
    note_dropped(connection, select(attachments.c.tenant, attachments.c.sha256).where(of_messages, *conditions))
    statement = delete(attachments).where(of_messages, *conditions)
    address = attachments.c.tenant, attachments.c.sha256
    rows = connection.execute(statement.returning(*address, attachments.c.thread_key)).all()
    dropped_files.record(connection, rows)
    return len(rows)


def _finish_deletion(connection: Connection, thread: AnyRow, pending_deletion: AnyRow) -> Counts:
    """End a deletion: delete summaries and context of the deleted messages, unless the policy keeps them."""
    counts = {}
    # Before the summaries: it points to the one that a legal hold would have restored.
    _delete_rows_of_thread(connection, pending_deletions, thread.key)
    if not pending_deletion.keep_summary:
        is_outdated = (summaries.c.thread_key == thread.key) & (summaries.c.from_seq <= thread.history_starts_after)
        counts["summaries"] = connection.execute(delete(summaries).where(is_outdated)).rowcount
        counts["context"] = carried_context.delete_below_cutoff(connection, thread)
    if thread.lineage:
        # Until now, what it shared was kept for a legal hold on it.
        sharing.release(connection, thread)
    return counts


def _delete_rows_of_thread(connection: Connection, table: Table, key: int) -> int:
    return connection.execute(delete(table).where(table.c.thread_key == key)).rowcount


def _record_counts(
    connection: Connection, thread: AnyRow, pending_deletion: AnyRow, kind: str, counts: Counts, *, to_seq: int
) -> None:
    if pending_deletion.erasure_id is not None:
        add_erased_counts(connection, pending_deletion.erasure_id, counts)
    elif any(counts.values()):
        details = {"counts": counts, "to_seq": to_seq, "policy": pending_deletion.policy}
        write_audit_row(connection, thread.tenant, thread_id_of(thread.id), f"retention.{kind}_deleted", details)


def add_erased_counts(connection: Connection, erasure_id: str, counts: Counts) -> None:
    """Add counts to those of an erasure so far."""
    of_erasure = erasures.c.id == erasure_id
    previous_counts = connection.execute(select(erasures.c.counts).where(of_erasure).with_for_update()).scalar_one()
    connection.execute(update(erasures).where(of_erasure).values(counts=add_counts(previous_counts, counts)))
