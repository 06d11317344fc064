"""Legal holds: while one stands, nothing of its thread is deleted, and hidden messages are read again.

A hold that comes after the cutoff has moved withdraws the move: back to where it was, if nothing was
deleted yet; else to the first turn of which everything is still stored. The remainder of a turn before
that is kept, too, but never read: half a turn is no history. The summary comes back with the messages.
A cutoff that an erasure moved is no longer that erasure's.

A hold is on the thread with all its branches; what forks share with it stays as long as they show it.

What stays true: from the commit of a hold on, no statement deletes anything of its thread; each hold
and each release leaves a row in `audit`.
"""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Connection, delete, or_, select, update

from conversation.errors import ThreadNotFound
from conversation.validation import check_text
from store.audit import write_audit_row
from store.database.column_types import clock
from store.database.statements import AnyRow
from store.history import turn_boundary
from store.history.visibility import is_summary_of
from store.lineage import Lineage
from store.retention import carried_context, sharing
from store.retention.move_cut import columns_at_cutoff
from store.tables import summaries, threads
from store.tables.retention import pending_deletions

#: Characters of a reason: a matter and its number, not a letter.
REASON_MAX_CHARS = 500


def hold(connection: Connection, tenant: str, thread_id: str, *, reason: str = "") -> None:
    """Put a thread under legal hold. Running it twice changes nothing. Raises `ThreadNotFound`.

    The reason stands in `audit` for good, so name a matter, not a user.
    """
    check_text("reason", reason, max_chars=REASON_MAX_CHARS)
    first, *branches = _lock_rows(connection, tenant, thread_id)
    if first.legal_hold:
        return
    cutoff = undo_cutoff(connection, first)
    for branch in branches:
        undo_cutoff(connection, branch)
    connection.execute(update(threads).where(_is_of_thread(first)).values(legal_hold=True))
    write_audit_row(connection, tenant, thread_id, "retention.hold", {"reason": reason, "cut": cutoff})


def release(connection: Connection, tenant: str, thread_id: str, *, reason: str = "") -> None:
    """Let policies apply to a thread again. Raises `ThreadNotFound`."""
    check_text("reason", reason, max_chars=REASON_MAX_CHARS)
    rows = _lock_rows(connection, tenant, thread_id)
    if not rows[0].legal_hold:
        return
    free = {"legal_hold": False, "retention_checked_at": None}
    connection.execute(update(threads).where(_is_of_thread(rows[0])).values(free))
    for row in rows:
        sharing.delete_hidden(connection, row)
    write_audit_row(connection, tenant, thread_id, "retention.release", {"reason": reason})


def _lock_rows(connection: Connection, tenant: str, thread_id: str) -> Sequence[AnyRow]:
    """Lock the rows of a thread: its first one, then its branches. Raises `ThreadNotFound`."""
    of_first = select(threads).where(threads.c.tenant == tenant, threads.c.id == thread_id)
    first = connection.execute(of_first.with_for_update(key_share=True)).one_or_none()
    if first is None:
        raise ThreadNotFound(f"no thread {thread_id!r} is stored for tenant {tenant!r}")
    branches = select(threads).where(threads.c.root_key == first.key).order_by(threads.c.key)
    return [first, *connection.execute(branches.with_for_update(key_share=True))]


def _is_of_thread(first: AnyRow) -> ColumnElement[bool]:
    """The condition for the first row of a thread, and those of its branches."""
    return or_(threads.c.key == first.key, threads.c.root_key == first.key)


def undo_cutoff(connection: Connection, thread: AnyRow) -> int:
    """Move the cutoff back before the messages that are still stored; returns the new cutoff.

    The thread's row was locked by this transaction.
    """
    of_thread = pending_deletions.c.thread_key == thread.key
    pending_deletion = connection.execute(select(pending_deletions).where(of_thread)).one_or_none()
    if pending_deletion is None:
        return int(thread.history_starts_after)
    cutoff = max(pending_deletion.deleted_to, pending_deletion.cut_before)
    lineage = Lineage.of(thread)
    if lineage.shared_to_seq >= pending_deletion.deleted_to:
        # Of what it shares, nothing is deleted before its own deletion ends.
        cutoff = pending_deletion.cut_before
    elif pending_deletion.deleted_to > pending_deletion.cut_before:
        turn_start = turn_boundary.find_at_or_above(connection, lineage, pending_deletion.deleted_to)
        cutoff = thread.history_starts_after if turn_start is None else min(turn_start, thread.history_starts_after)
    carried_context.remove_from_context(connection, thread, cutoff=cutoff)
    summary_id = _choose_summary(connection, thread, pending_deletion, cutoff)
    columns = columns_at_cutoff(connection, thread, cutoff, summary_id)
    connection.execute(update(threads).where(threads.c.key == thread.key).values(**columns))
    if cutoff in (pending_deletion.deleted_to, pending_deletion.cut_before):
        connection.execute(delete(pending_deletions).where(of_thread))
    else:
        # Messages below are deleted once the hold is released; the others are subject to policies again.
        new_values = {"whole": False, "keep_summary": True, "erasure_id": None}
        connection.execute(update(pending_deletions).where(of_thread).values(**new_values))
    return int(cutoff)


def _choose_summary(connection: Connection, thread: AnyRow, pending_deletion: AnyRow, cutoff: int) -> str | None:
    """The thread's summary if no visible message precedes what it covers; else the one of before."""
    is_current = is_summary_of(thread.key, thread.summary_id)
    query = select(summaries.c.from_seq).where(is_current)
    from_seq = connection.execute(query).scalar_one_or_none()
    if from_seq is not None and from_seq <= cutoff + 1:
        return str(thread.summary_id)
    connection.execute(update(summaries).where(is_current).values(restored_at=clock()))
    return None if pending_deletion.summary_id is None else str(pending_deletion.summary_id)
