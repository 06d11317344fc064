"""Turns that wait for a worker although one could start them: what the sweep notifies, and what `status` reports.

What stays true: a turn behind another of its thread does not wait, nor does one whose thread a living worker holds;
and a search looks at a window of the queue, so that it costs the same however long the queue is.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import CTE, ColumnElement, Connection, Select, and_, case, func, not_, or_, select, union_all

from store.database.column_types import clock, moment_now
from store.tables import threads, turns
from store.tables.turns import queued, unfinished
from store.turns.interrupts import is_interrupted
from store.turns.next_turn import can_start, is_abandoned, is_alive, is_head, is_within_running_limit

#: Turns of each kind that a search for the longest waiting one looks at.
SEARCH_WINDOW = 1_000

#: When a turn that waits is due, as its index has it.
_due_at = func.coalesce(turns.c.retry_at, turns.c.not_before, turns.c.created_at)


@dataclass(frozen=True, slots=True)
class WaitingTurn:
    """A turn that a worker could start."""

    id: str
    tenant: str
    thread_id: str
    agent: str
    seconds: float


@cache
def is_waiting_head(tenant_max_running: int) -> ColumnElement[bool]:
    """Whether a turn, joined with its thread, could run and is held by no worker."""
    return and_(
        is_head(),
        or_(can_start(), and_(unfinished, is_interrupted())),
        is_within_running_limit(tenant_max_running),
        or_(turns.c.local_process_id.is_(None), is_abandoned()),
        or_(threads.c.lease_owner.is_(None), not_(is_alive(threads.c.lease_owner))),
    )


@cache
def select_never_notified() -> Select[Any]:
    """Select the due turns for which no wake-up was published, those that are due for longest first."""
    waiting = select(turns.c.id).where(queued)
    return waiting.where(turns.c.notified_at.is_(None), _due_at <= moment_now()).order_by(_due_at)


def select_notified(*, for_seconds: float) -> Select[Any]:
    """Select the turns whose last wake-up was published so long ago, at least, that of longest ago first."""
    waiting = select(turns.c.id).where(queued)
    long_ago = moment_now(plus_seconds=-for_seconds)
    return waiting.where(turns.c.notified_at < long_ago).order_by(turns.c.notified_at)


def take_first(statement: Select[Any], size: int) -> Select[Any]:
    """Select the first turns, with ORDER BY and LIMIT on their own side of a UNION, on SQLite too."""
    subquery = statement.limit(size).subquery()
    return select(subquery.c.id)


def find_longest_waiting(
    connection: Connection, *, over_seconds: float, tenant_max_running: int = 0
) -> WaitingTurn | None:
    """Find the turn that waits for longest, of all tenants, if it waits for more than so many seconds."""
    # A turn that waited for others of its thread began to wait for a worker when the last one of them ended.
    since = case((_due_at > threads.c.updated_at, _due_at), else_=threads.c.updated_at)
    statement = (
        select(
            turns.c.id, turns.c.tenant, threads.c.id.label("thread_id"), turns.c.agent, since.label("since"), clock()
        )
        .join(threads, turns.c.thread_key == threads.c.key)
        .where(
            turns.c.id.in_(select(_search_window().c.id)),
            is_waiting_head(tenant_max_running),
            since < clock(plus_seconds=-over_seconds),
        )
        .order_by(since)
        .limit(1)
    )
    row = connection.execute(statement).one_or_none()
    if row is None:
        return None
    turn_id, tenant, thread_id, agent, waits_since, now = row
    return WaitingTurn(turn_id, tenant, thread_id, agent, (now - waits_since).total_seconds())


def _search_window() -> CTE:
    statements = select_never_notified(), select_notified(for_seconds=0)
    return union_all(*(take_first(statement, SEARCH_WINDOW) for statement in statements)).cte("searched")


def runs_any_turn(connection: Connection) -> bool:
    """Whether any turn runs."""
    running = select(turns.c.id).where(turns.c.state == "running").limit(1)
    return connection.execute(running).first() is not None
