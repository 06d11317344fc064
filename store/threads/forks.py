"""Forks: a new thread that begins with the history of another one, up to a seq.

What stays true: the history is shared, as branches share it, so a fork costs the same however long it is; from there
on both are threads of their own.
"""

from sqlalchemy import Connection

from conversation.errors import InvalidInput
from conversation.thread import Thread
from conversation.validation import check_id
from store.threads.branching import check_share, insert_sharing
from store.threads.repository import load
from store.threads.thread_views import ThreadView, view_new
from store.threads.visible_threads import Viewer, lock_visible_thread


def fork(
    connection: Connection, tenant: str, thread_id: str, new_id: str, *, at: int | None = None, last: int | None = None
) -> Thread:
    """Make a thread with the history of another one up to and with the seq `at`; messages and blobs are shared.

    With `last`, it is loaded with its newest messages alone. Raises `ThreadNotFound`, and `InvalidInput` where `at` is
    no seq of the thread or parts a tool call from its result.
    """
    check_id("new_thread_id", new_id)
    if fork_visible_thread(connection, Viewer(tenant), thread_id, new_id, at=at) is None:
        raise InvalidInput("new_thread_id", f"{new_id!r} is the id of a thread already", "pass another one")
    return load(connection, tenant, new_id, last=last)


def fork_visible_thread(
    connection: Connection, viewer: Viewer, thread_id: str, new_id: str, *, at: int | None = None
) -> ThreadView | None:
    """As `fork`, without loading the new thread; None if its id is a thread's already."""
    source = lock_visible_thread(connection, viewer, thread_id)
    row = insert_sharing(connection, source, new_id, check_share(connection, source, at))
    return None if row is None else view_new(row)
