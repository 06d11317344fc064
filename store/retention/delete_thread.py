"""Deleting one thread because its user or an operator asks for it.

What stays true: its files are noted as dropped in the same transaction, so that none is lost or kept.
"""

from sqlalchemy import Connection, delete, select

from conversation.errors import ThreadUnderLegalHold
from store.files.attachments import addresses_of
from store.files.garbage_collection import note_dropped
from store.retention import dropped_files
from store.retention.thread_user import enter_user
from store.schedules.deletion import delete_of_subject
from store.tables import attachments, threads
from store.threads.visible_threads import Viewer, lock_visible_thread


def delete_visible_thread(connection: Connection, viewer: Viewer, thread_id: str) -> None:
    """As `delete_thread`, of a thread that the viewer may see. Raises `ThreadNotFound`."""
    lock_visible_thread(connection, viewer, thread_id, to_delete=True)
    delete_thread(connection, viewer.tenant, thread_id)


def delete_thread(connection: Connection, tenant: str, thread_id: str) -> bool:
    """Delete a thread with all that belongs to it, and the schedules that send to it; False if there was none.

    Threads in which agents answered what was asked in it go with it.

    Its blobs stay until no other message has them and their grace is over; what retention archived of
    it stays, as its owner's. Raises `ThreadUnderLegalHold`.
    """
    thread = select(threads).where(threads.c.tenant == tenant, threads.c.id == thread_id)
    row = connection.execute(thread.with_for_update()).one_or_none()
    if row is None:
        return False
    if row.legal_hold:
        raise ThreadUnderLegalHold([thread_id])
    # Else the next run would make the thread anew.
    delete_of_subject(connection, tenant, user=None, thread_id=thread_id)
    note_dropped(connection, addresses_of(row.key))
    thread_files = addresses_of(row.key).add_columns(attachments.c.thread_key)
    dropped_files.record(connection, connection.execute(thread_files).all())
    enter_user(connection, row.key)
    connection.execute(delete(threads).where(threads.c.key == row.key))
    # Those in which agents answered what was asked here: their own `begun_in` names this one as well, however deep.
    begun_here = select(threads.c.id).where(threads.c.tenant == tenant, threads.c.begun_in == thread_id)
    for child_id in connection.execute(begun_here.order_by(threads.c.key)).scalars().all():
        delete_thread(connection, tenant, child_id)
    return True
