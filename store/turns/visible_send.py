"""Sending for a viewer: into threads that it may see, with files that are its own.

What stays true: a message of a user's makes a new thread theirs before it is in it, and never enters one that is
another's, or nobody's: whose it is, is settled in the transaction that stores the message.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select

from conversation.attachment import Attachment
from conversation.branch_address import check_address, split_address
from store.database.sqlite import read_only
from store.files.attachable import FileChoice, resolve_files
from store.history.row_ids import is_row_of
from store.tables import threads, turns
from store.threads.repository import ensure_thread
from store.threads.visible_threads import Viewer, is_seen, thread_not_found
from store.turns import inbox
from store.turns.send_request import AcceptedTurn, SendLimits, SendRequest


@dataclass(frozen=True, slots=True)
class SentTurn:
    """The turn that a message of a viewer's led to."""

    accepted: AcceptedTurn
    #: When it was stored first.
    created_at: datetime
    #: The agent that answers: the one that the thread was handed over to, where the sender named none.
    agent: str


def accept_of_viewer(
    connection: Connection, viewer: Viewer, request: SendRequest, limits: SendLimits, *, creates: bool = False
) -> SentTurn:
    """As `inbox.accept`. Raises `ThreadNotFound`, unless it `creates` the thread where there is none of its id."""
    thread_id, branch = split_address(request.thread_id)
    if creates and branch is None:
        owner = viewer.user or request.user
        ensure_thread(connection, viewer.tenant, thread_id, agent=request.agent, owner=owner)
    # Only its key: a worker that holds the row holds this up no more than it does the turn's insertion.
    own_row = select(threads.c.key).where(is_seen(viewer, request.thread_id)).with_for_update(read=True, key_share=True)
    if connection.execute(own_row).one_or_none() is None:
        raise thread_not_found(viewer, request.thread_id)
    accepted = inbox.accept(connection, request, limits)
    row = connection.execute(select(turns.c.created_at, turns.c.agent).where(turns.c.id == accepted.turn_id)).one()
    return SentTurn(accepted, row.created_at, row.agent)


@read_only
def check_send(
    connection: Connection, viewer: Viewer, thread_id: str, choices: Sequence[FileChoice]
) -> list[Attachment]:
    """Check that a viewer may send to a thread, which need not exist; returns the files that it chose.

    Raises `ThreadNotFound`, `InvalidInput`, and as `resolve_files`.
    """
    of_thread = is_row_of(viewer.tenant, check_address("thread_id", thread_id))
    row = connection.execute(select(threads.c.key, threads.c.owner).where(of_thread)).one_or_none()
    if row is not None and viewer.user not in (None, row.owner):
        raise thread_not_found(viewer, thread_id)
    thread_key = None if row is None else row.key
    return resolve_files(connection, viewer.tenant, viewer.user, thread_key, choices)
