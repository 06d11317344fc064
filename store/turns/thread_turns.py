"""The turns of one thread, page by page, the newest first.

What stays true: a page costs the same wherever it begins, and however many turns there are; a tenant sees the turns
of its own threads only.
"""

from sqlalchemy import Connection, select

from conversation.arguments import check_whole_number
from conversation.cursor import read_cursor, write_cursor
from conversation.turn import TurnRecord
from store.history.arrival_order import first_turns
from store.tables import turns
from store.threads.visible_threads import Viewer, find_thread
from store.turns.records import build_record, select_records

#: Turns of one page, at most.
PAGE_MAX = 1_000


class TurnPage(list[TurnRecord]):
    """Turns of a thread, the newest first; `next_cursor` is None on the last page."""

    next_cursor: str | None = None


def list_of_thread(
    connection: Connection,
    tenant: str,
    thread_id: str,
    *,
    limit: int,
    cursor: str | None = None,
    user: str | None = None,
) -> TurnPage:
    """List a thread's turns; with `user`, of a thread of this user's.

    Raises `ThreadNotFound`, and `InvalidInput` for what cannot be listed by.
    """
    limit = check_whole_number("limit", limit, minimum=1, maximum=PAGE_MAX)
    thread_key = find_thread(connection, Viewer(tenant, user), thread_id).key
    listed = select(turns.c.id, turns.c.arrival_seq).where(turns.c.thread_key == thread_key)
    if cursor is not None:
        (arrival_seq,) = read_cursor(cursor, [int], fix="pass next_cursor of the page before")
        listed = listed.where(turns.c.arrival_seq < arrival_seq)
    # One more, to know whether another page follows.
    first = first_turns(listed, turns, limit=limit + 1, newest=True)
    statement = select_records().where(turns.c.id.in_(select(first.c.id)))
    rows = connection.execute(statement.order_by(turns.c.arrival_seq.desc())).all()
    page = TurnPage(build_record(row) for row in rows[:limit])
    if len(rows) > limit:
        page.next_cursor = write_cursor(rows[limit - 1].arrival_seq)
    return page
