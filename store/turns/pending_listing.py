"""The pending calls of a tenant, page by page, in the order in which they were asked.

What stays true: a page costs the same wherever it begins; only what can still be decided is listed.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, literal, select, tuple_

from conversation.arguments import check_whole_number
from conversation.cursor import read_cursor, write_cursor
from conversation.pending_call import PendingCall
from conversation.validation import check_id, check_tenant
from store.database.column_types import moment_now
from store.database.sqlite import read_only
from store.tables import pending_calls, threads, turns
from store.threads.visible_threads import Viewer
from store.turns.pending_calls import build_call, load_open
from store.turns.records import is_turn, turn_not_found
from store.turns.turn_user import turn_user

#: Calls of one page, at most.
PAGE_MAX = 1_000
#: No two open calls have the same: of a step, one is open at most.
_ORDER = (pending_calls.c.requested_at, turns.c.arrival_seq, pending_calls.c.step_index)


class PendingPage(list[PendingCall]):
    """Pending calls, the oldest first; `next_cursor` is None on the last page."""

    next_cursor: str | None = None


@read_only
def list_pending(
    connection: Connection,
    tenant: str,
    *,
    user: str | None = None,
    owner: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> PendingPage:
    """List what a tenant's turns wait for; with `user`, of the turns in which this user asks.

    With `owner`, only in threads of this user's. Raises `InvalidInput`.
    """
    limit = check_whole_number("limit", limit, minimum=1, maximum=PAGE_MAX)
    statement = _select_open(tenant).order_by(*_ORDER).limit(limit + 1)
    if user is not None:
        statement = statement.where(turn_user() == check_id("user", user))
    if owner is not None:
        statement = statement.where(Viewer(tenant, owner).sees)
    if cursor is not None:
        place = read_cursor(cursor, [datetime, int, int], fix="pass next_cursor of the page before")
        values = [literal(value, column.type) for value, column in zip(place, _ORDER, strict=True)]
        statement = statement.where(tuple_(*_ORDER) > tuple_(*values))
    rows = connection.execute(statement).all()
    page = PendingPage(build_call(row) for row in rows[:limit])
    if len(rows) > limit:
        last = rows[limit - 1]
        page.next_cursor = write_cursor(last.requested_at, last.arrival_seq, last.step_index)
    return page


@read_only
def read_pending(connection: Connection, turn_id: str, *, tenant: str | None = None) -> tuple[PendingCall, ...]:
    """The open calls of a turn, of this tenant where one is named: those that it waits for, or left open at its end.

    Raises `TurnNotFound`.
    """
    if connection.execute(select(turns.c.id).where(is_turn(turn_id, tenant))).first() is None:
        raise turn_not_found(turn_id, tenant)
    return load_open(connection, turn_id)


def _select_open(tenant: str) -> Select[Any]:
    is_open = pending_calls.c.decision.is_(None), pending_calls.c.expires_at > moment_now()
    return (
        select(pending_calls, turns.c.arrival_seq)
        .join(turns, turns.c.id == pending_calls.c.turn_id)
        .join(threads, threads.c.key == turns.c.thread_key)
        .where(pending_calls.c.tenant == check_tenant(tenant), *is_open)
    )
