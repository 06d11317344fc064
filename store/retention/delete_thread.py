"""Deleting one thread because its user or an operator asks for it.

What stays true: its files are noted as dropped in the same transaction, so that none is lost or kept.
"""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Connection, delete, exists, not_, select, true

from conversation.branch_address import check_address
from conversation.errors import ThreadUnderLegalHold
from store.database.statements import AnyRow
from store.files.attachments import addresses_of
from store.files.garbage_collection import note_dropped
from store.retention import dropped_files, sharing
from store.retention.row_removal import is_turn_shared, remove_row
from store.retention.sharing import Range
from store.retention.thread_user import enter_user
from store.schedules.deletion import delete_of_subject
from store.tables import attachments, messages, threads, turns
from store.tables.turns import unfinished
from store.threads.visible_threads import Viewer, lock_visible_thread
from store.turns.children import end_turns, is_begun_in, lock_parents


def delete_visible_thread(connection: Connection, viewer: Viewer, thread_id: str) -> None:
    """As `delete_thread`, of a thread that the viewer may see. Raises `ThreadNotFound` and `InvalidInput`."""
    check_address("thread_id", thread_id)
    _lock_parents(connection, viewer.tenant, thread_id)
    lock_visible_thread(connection, viewer, thread_id, to_delete=True)
    delete_thread(connection, viewer.tenant, thread_id)


def delete_thread(connection: Connection, tenant: str, thread_id: str) -> bool:
    """Delete a thread with all its branches, all that belongs to it, and the schedules that send to it.

    Threads in which agents answered what was asked in it go with it. A turn that waits for one of its turns is told
    that it was cancelled.

    False if there was none.

    What forks of it share stays for them. Its blobs stay until no other message has them and their grace is over; what
    retention archived of it stays, as its owner's. Raises `ThreadUnderLegalHold`.
    """
    _lock_parents(connection, tenant, thread_id)
    first = select(threads.c.key).where(threads.c.tenant == tenant, threads.c.id == thread_id)
    key = connection.execute(first.with_for_update()).scalar_one_or_none()
    if key is None:
        return False
    of_thread = select(threads).where((threads.c.key == key) | (threads.c.root_key == key))
    rows = connection.execute(of_thread.order_by(threads.c.key).with_for_update()).all()
    if any(row.legal_hold for row in rows):
        raise ThreadUnderLegalHold([thread_id])
    # Else the next run would make the thread anew.
    delete_of_subject(connection, tenant, user=None, thread_id=thread_id)
    # Those in which agents answered what was asked here, which are found by its row.
    begun_here = select(threads.c.id).where(is_begun_in(threads, tenant, thread_id)).order_by(threads.c.key)
    child_ids = connection.execute(begun_here).scalars().all()
    delete_rows(connection, rows)
    for child_id in child_ids:
        # It takes its own with it, which are listed here as well.
        delete_thread(connection, tenant, child_id)
    return True


def _lock_parents(connection: Connection, tenant: str, thread_id: str) -> None:
    """Lock the threads of turns that wait for this one's, which come before it."""
    first = threads.alias("first")
    is_of_thread = (first.c.key == threads.c.key) | (first.c.key == threads.c.root_key)
    of_thread = select(threads.c.key).join(first, is_of_thread).where(first.c.tenant == tenant, first.c.id == thread_id)
    lock_parents(connection, select(turns.c.id).where(turns.c.thread_key.in_(of_thread), unfinished))


def delete_rows(connection: Connection, rows: Sequence[AnyRow], *, with_thread: bool = True) -> None:
    """Delete rows of `threads`, which are locked: a thread with all its branches, or branches of one that stays."""
    # Each after those that were branched from it: their keys are higher.
    for row in sorted(rows, key=lambda row: row.key, reverse=True):
        end_turns(connection, row.key)
        shared = sharing.list_shared_ranges(connection, row.key)
        is_dropped = true() if not shared else not_(_is_of(row.key, shared))
        dropped = addresses_of(row.key).where(is_dropped)
        note_dropped(connection, dropped)
        dropped_files.record(connection, connection.execute(dropped.add_columns(attachments.c.thread_key)).all())
        enter_user(connection, row.key)
        if shared:
            of_row = attachments.c.thread_key == row.key
            connection.execute(delete(attachments).where(of_row, is_dropped))
            of_row = turns.c.thread_key == row.key
            connection.execute(delete(turns).where(of_row, not_(is_turn_shared(row.key, shared))))
            of_row = messages.c.thread_key == row.key
            connection.execute(delete(messages).where(of_row, sharing.is_free(shared)))
        remove_row(connection, row, with_thread=with_thread)


def _is_of(key: int, shared: Sequence[Range]) -> ColumnElement[bool]:
    """The condition for files of messages that others share."""
    of_file = (messages.c.thread_key == key) & (messages.c.id == attachments.c.message_id)
    return exists().where(of_file, sharing.is_in(shared))
