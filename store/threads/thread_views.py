"""Threads as a viewer is shown them: their row, how much they hold, and what runs there; never their messages.

What stays true: a view is one statement, whatever the length of the history; a page of them as well.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, select

from conversation.events import number_of_end, number_of_start
from conversation.thread import LAST_UPDATED
from store.database.sqlite import read_only
from store.database.statements import AnyRow
from store.tables import threads, turns
from store.tables.turns import is_unfinished
from store.threads.listing import Order, ThreadFilter, apply_filters, list_rows
from store.threads.visible_threads import Viewer, is_seen, thread_not_found


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadView:
    """A thread, without its messages."""

    key: int
    id: str
    title: str | None
    #: Whose it is; None where it is nobody's.
    user: str | None
    metadata: Mapping[str, Any]
    created_at: datetime
    updated_at: datetime
    #: Messages of its history.
    messages: int
    #: The id of the turn that runs there.
    running_turn: str | None
    #: The number behind which its events tell what is not in its history yet.
    last_event_id: int


class ThreadViewPage(list[ThreadView]):
    """Views of threads, newest first; `next_cursor` is None on the last page."""

    next_cursor: str | None = None


@read_only
def read_view(connection: Connection, viewer: Viewer, thread_id: str) -> ThreadView:
    """The view of a thread. Raises `ThreadNotFound`."""
    row = connection.execute(select_views().where(is_seen(viewer, thread_id))).one_or_none()
    if row is None:
        raise thread_not_found(viewer, thread_id)
    return view_of(row)


@read_only
def list_views(
    connection: Connection, filters: ThreadFilter, *, limit: int, cursor: str | None = None, order: Order = "created"
) -> ThreadViewPage:
    """List threads as `store.threads.listing.list_threads` does."""
    rows, next_cursor = list_rows(connection, select_views(), filters, limit=limit, cursor=cursor, order=order)
    page = ThreadViewPage(map(view_of, rows))
    page.next_cursor = next_cursor
    return page


@read_only
def read_views(connection: Connection, filters: ThreadFilter, thread_ids: Collection[str]) -> dict[str, ThreadView]:
    """The views of threads by id: of those that meet the filters."""
    statement = apply_filters(connection, select_views(), filters).where(threads.c.id.in_(sorted(thread_ids)))
    return {row.id: view_of(row) for row in connection.execute(statement)}


def select_views() -> Select[Any]:
    """The rows of threads, as `view_of` reads them."""
    running = turns.alias("running")
    is_running = (running.c.thread_key == threads.c.key) & is_unfinished("running") & (running.c.state == "running")
    # The index of unfinished turns: a thread has few, and one of them runs.
    turn_id = select(running.c.id).where(is_running).limit(1).correlate(threads).scalar_subquery()
    return select(threads, turn_id.label("running_turn"))


def view_of(row: AnyRow) -> ThreadView:
    """The view of a row of `select_views`."""
    return ThreadView(
        key=row.key,
        id=row.id,
        title=row.title,
        user=row.owner,
        metadata={name: value for name, value in row.metadata.items() if name != LAST_UPDATED},
        created_at=row.created_at,
        updated_at=row.updated_at,
        # Every message got the next seq, and those at the front are hidden first.
        messages=row.last_seq - row.history_starts_after,
        running_turn=row.running_turn,
        last_event_id=_last_event_id(row),
    )


def _last_event_id(row: AnyRow) -> int:
    if row.running_turn is not None:
        # What it has said is in the history when it is over.
        return number_of_start(row.fencing_token) - 1
    return number_of_end(row.fencing_token)
