"""Legal holds: while one stands, nothing of its thread is deleted, and what was cut is read again.

A hold that comes after the cut has moved takes the cut back: to where it was, if nothing was deleted
yet; else to the first turn of which everything is still stored. What is left of a turn before that is
kept, too, and read by nobody: half a turn is no history. The summary comes back with the messages. A
cut that an erasure made is no longer that erasure's.

What stays true: from the commit of a hold on, no statement deletes anything of its thread; each hold
and each release leaves a row in `audit`.
"""

from sqlalchemy import Connection, delete, select, update

from conversation.errors import ThreadNotFound
from conversation.validation import check_text
from store.audit import note
from store.database.column_types import clock
from store.database.statements import AnyRow
from store.history import turn_boundary
from store.retention import carried_context
from store.retention.move_cut import shows_from
from store.tables import summaries, threads
from store.tables.retention import retention_cuts

#: Characters of a reason: a matter and its number, not a letter.
REASON_MAX_CHARS = 500


def hold(connection: Connection, tenant: str, thread_id: str, *, reason: str = "") -> None:
    """Put a thread under legal hold. Running it twice changes nothing. Raises `ThreadNotFound`.

    The reason stands in `audit` for good, so name a matter, not a person.
    """
    check_text("reason", reason, max_chars=REASON_MAX_CHARS)
    thread = _locked(connection, tenant, thread_id)
    if thread.legal_hold:
        return
    cut = take_back(connection, thread)
    held = update(threads).where(threads.c.key == thread.key)
    connection.execute(held.values(legal_hold=True))
    note(connection, tenant, thread_id, "retention.hold", {"reason": reason, "cut": cut})


def release(connection: Connection, tenant: str, thread_id: str, *, reason: str = "") -> None:
    """Let policies apply to a thread again. Raises `ThreadNotFound`."""
    check_text("reason", reason, max_chars=REASON_MAX_CHARS)
    thread = _locked(connection, tenant, thread_id)
    if not thread.legal_hold:
        return
    free = update(threads).where(threads.c.key == thread.key)
    connection.execute(free.values(legal_hold=False, retention_seen_at=None))
    note(connection, tenant, thread_id, "retention.release", {"reason": reason})


def _locked(connection: Connection, tenant: str, thread_id: str) -> AnyRow:
    of_thread = (threads.c.tenant == tenant) & (threads.c.id == thread_id)
    statement = select(threads).where(of_thread).with_for_update(key_share=True)
    row: AnyRow | None = connection.execute(statement).one_or_none()
    if row is None:
        raise ThreadNotFound(f"no thread {thread_id!r} is stored for tenant {tenant!r}")
    return row


def take_back(connection: Connection, thread: AnyRow) -> int:
    """Move the cut back over what is still stored; returns where it stands then.

    The thread's row was locked by this transaction.
    """
    of_thread = retention_cuts.c.thread_key == thread.key
    pending = connection.execute(select(retention_cuts).where(of_thread)).one_or_none()
    if pending is None:
        return int(thread.retention_cut)
    cut = max(pending.deleted_to, pending.cut_before)
    if pending.deleted_to > pending.cut_before:
        beginning = turn_boundary.at_or_above(connection, thread.key, pending.deleted_to)
        cut = thread.retention_cut if beginning is None else min(beginning, thread.retention_cut)
    carried_context.take_back(connection, thread, cut=cut)
    summary_id = _without_a_hole(connection, thread, pending, cut)
    shown = shows_from(connection, thread, cut, summary_id)
    connection.execute(update(threads).where(threads.c.key == thread.key).values(**shown))
    if cut in (pending.deleted_to, pending.cut_before):
        connection.execute(delete(retention_cuts).where(of_thread))
    else:
        # What is below is deleted once the hold is released; the rest is the policies' again.
        left = {"whole": False, "keep_summary": True, "erasure_id": None}
        connection.execute(update(retention_cuts).where(of_thread).values(**left))
    return int(cut)


def _without_a_hole(connection: Connection, thread: AnyRow, pending: AnyRow, cut: int) -> str | None:
    """The thread's summary, unless messages that come back stand before what it tells of."""
    begins = select(summaries.c.from_seq).where(summaries.c.id == thread.summary_id)
    from_seq = connection.execute(begins).scalar_one_or_none()
    if from_seq is not None and from_seq <= cut + 1:
        return str(thread.summary_id)
    taken_back = update(summaries).where(summaries.c.id == thread.summary_id)
    connection.execute(taken_back.values(restored_at=clock()))
    return None if pending.summary_id is None else str(pending.summary_id)
