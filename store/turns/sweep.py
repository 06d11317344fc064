"""The sweep: turns that wait although no worker runs them, because a wake-up was lost or a worker died.

What stays true: one wake-up a thread, bounded; a turn is marked as notified in the same transaction that
picks it, so that two sweeps at once notify each thread once. A sweep looks at a window of the turns that wait,
the longest without a notification first, and notifies the oldest in it: it costs the same however long the
backlog is. Where turns that cannot start yet fill the window, they go to the end of the line.
"""

from collections.abc import Collection
from typing import Any

from sqlalchemy import (
    CTE,
    ColumnElement,
    Connection,
    ScalarSelect,
    Select,
    Update,
    and_,
    case,
    func,
    not_,
    or_,
    select,
    true,
    union_all,
    update,
)
from sqlalchemy.sql.dml import ReturningUpdate

from conversation.task_contract import QUARANTINE_QUEUE, TURNS_QUEUE, WakeUp
from store.database.column_types import clock, moment_now
from store.database.statements import AnyRow, execute_together
from store.tables import threads, turns, workers
from store.tables.turns import queued, unfinished
from store.turns.claim_request import SHARED_CRASHES
from store.turns.next_turn import can_start, is_abandoned, is_alive, is_head, is_within_running_limit, must_end_at

#: Turns of each kind that a sweep looks at, at least.
WINDOW_MIN = 500


def pick_wake_ups(
    connection: Connection,
    *,
    grace_seconds: float,
    limit: int,
    tenant_max_running: int = 0,
    tenant: str | None = None,
    thread_keys: Collection[int] | None = None,
) -> list[WakeUp]:
    """Pick the heads that no worker holds and that were not notified lately; mark them as notified.

    Picks those of one tenant, of some threads, or of all; none of tenants that run as many turns as they may.
    """
    size = max(WINDOW_MIN, limit)
    line = _candidates(tenant, thread_keys, grace_seconds, size)
    candidates = union_all(select(line.c.arrival_seq), _lost(), _take_first(_must_end(), size))
    waiting_heads = (
        _waiting_heads(grace_seconds=grace_seconds, tenant_max_running=tenant_max_running)
        .where(turns.c.arrival_seq.in_(candidates), _is_asked_for(tenant, thread_keys))
        .order_by(turns.c.arrival_seq)
        .limit(limit)
        .with_for_update(skip_locked=True, of=turns)
        # A CTE runs once: a planner may run a subquery again for each row, and pick more than the limit.
        .cte("waiting")
    )
    postponement = (
        [_postpone_unready(line, size, waiting_heads, limit)] if tenant is None and thread_keys is None else []
    )
    picked_rows = execute_together(connection, postponement, _mark_notified(waiting_heads))
    return [_wake_up(row) for row in sorted(picked_rows, key=lambda row: row.arrival_seq)]


def _mark_notified(waiting_heads: CTE) -> ReturningUpdate[Any]:
    thread_id = select(threads.c.id).where(threads.c.key == turns.c.thread_key).scalar_subquery()
    crashes = turns.c.crashes + case((turns.c.state == "running", 1), else_=0)
    return (
        update(turns)
        .where(turns.c.arrival_seq.in_(select(waiting_heads.c.arrival_seq)))
        .values(notified_at=clock())
        .returning(
            turns.c.arrival_seq,
            turns.c.tenant,
            thread_id.label("thread_id"),
            turns.c.id,
            turns.c.priority,
            crashes.label("crashes"),
        )
    )


def _postpone_unready(line: CTE, size: int, waiting_heads: CTE, limit: int) -> Update:
    """Move turns that wait for others to the end of the line, where they leave a sweep too little to pick."""
    unready = (
        select(turns.c.arrival_seq)
        .where(turns.c.arrival_seq.in_(select(line.c.arrival_seq)), queued)
        .where(turns.c.arrival_seq.not_in(select(waiting_heads.c.arrival_seq)))
        .with_for_update(skip_locked=True)
        .cte("unready")
    )
    is_full = _count(line) >= size, _count(waiting_heads) < limit
    is_unready = turns.c.arrival_seq.in_(select(unready.c.arrival_seq))
    return update(turns).where(*is_full, is_unready).values(notified_at=clock())


def _count(rows: CTE) -> ScalarSelect[int]:
    return select(func.count()).select_from(rows).scalar_subquery()


def _longest_waiting(grace_seconds: float, size: int) -> CTE:
    """So many turns that were never notified and are due, and so many whose notification is old."""
    waiting = select(turns.c.arrival_seq).where(queued)
    due_at = func.coalesce(turns.c.retry_at, turns.c.not_before, turns.c.created_at)
    lately = moment_now(plus_seconds=-grace_seconds)
    never_notified = waiting.where(turns.c.notified_at.is_(None), due_at <= moment_now()).order_by(due_at)
    notified_before = waiting.where(turns.c.notified_at < lately).order_by(turns.c.notified_at)
    return union_all(_take_first(never_notified, size), _take_first(notified_before, size)).cte("line")


def _candidates(tenant: str | None, thread_keys: Collection[int] | None, grace_seconds: float, size: int) -> CTE:
    if tenant is None and thread_keys is None:
        return _longest_waiting(grace_seconds, size)
    asked_for = select(turns.c.arrival_seq).where(turns.c.state == "queued", _is_asked_for(tenant, thread_keys))
    # In the order of the index: those that wait have no end yet.
    return asked_for.order_by(turns.c.finished_at, turns.c.arrival_seq).limit(size).cte("line")


def _is_asked_for(tenant: str | None, thread_keys: Collection[int] | None) -> ColumnElement[bool]:
    return and_(
        true() if tenant is None else turns.c.tenant == tenant,
        true() if thread_keys is None else turns.c.thread_key.in_(thread_keys),
    )


def _must_end() -> Select[Any]:
    return select(turns.c.arrival_seq).where(unfinished, must_end_at <= moment_now()).order_by(must_end_at)


def _lost() -> Select[Any]:
    """The turns that run according to their row, though no living worker holds their thread."""
    living_workers = select(workers.c.id).where(workers.c.lease_expires_at > moment_now())
    is_lost = or_(threads.c.lease_owner.is_(None), threads.c.lease_owner.not_in(living_workers))
    running = select(turns.c.arrival_seq).join(threads, turns.c.thread_key == threads.c.key)
    return running.where(turns.c.state == "running", is_lost)


def _take_first(statement: Select[Any], size: int) -> Select[Any]:
    # The subquery keeps ORDER BY and LIMIT on their own side of the UNION, on SQLite too.
    subquery = statement.limit(size).subquery()
    return select(subquery.c.arrival_seq)


def _waiting_heads(*, grace_seconds: float, tenant_max_running: int) -> Select[Any]:
    """The heads that could run, that no worker holds, and that were not notified lately."""
    return (
        select(turns.c.arrival_seq)
        .join(threads, turns.c.thread_key == threads.c.key)
        .where(
            is_head(),
            can_start(),
            is_within_running_limit(tenant_max_running),
            or_(turns.c.local_process_id.is_(None), is_abandoned()),
            or_(turns.c.notified_at.is_(None), turns.c.notified_at < clock(plus_seconds=-grace_seconds)),
            or_(threads.c.lease_owner.is_(None), not_(is_alive(threads.c.lease_owner))),
        )
    )


def _wake_up(row: AnyRow) -> WakeUp:
    return WakeUp(
        tenant=row.tenant,
        thread_id=row.thread_id,
        turn_id=row.id,
        priority=row.priority,
        queue=QUARANTINE_QUEUE if row.crashes == SHARED_CRASHES else TURNS_QUEUE,
    )
