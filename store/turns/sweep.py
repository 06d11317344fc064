"""The sweep: turns that wait although no worker runs them, because a wake-up was lost or a worker died.

What stays true: one wake-up a thread, oldest first, bounded; a turn is marked as notified in the same
transaction that picks it, so that two sweeps at once notify each thread once.
"""

from collections.abc import Collection
from typing import Any

from sqlalchemy import Connection, Select, case, not_, or_, select, true, update

from conversation.task_contract import QUARANTINE_QUEUE, TURNS_QUEUE, WakeUp
from store.database.column_types import clock
from store.database.statements import AnyRow
from store.tables import threads, turns
from store.turns.claims import SHARED_CRASHES
from store.turns.next_turn import can_start, heads, is_abandoned, is_alive, is_within_running_limit


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
    heads_asked_for = heads() if thread_keys is None else heads().where(turns.c.thread_key.in_(thread_keys))
    waiting_heads = (
        _waiting_heads(heads_asked_for, grace_seconds=grace_seconds, tenant_max_running=tenant_max_running)
        .where(true() if tenant is None else turns.c.tenant == tenant)
        .order_by(turns.c.arrival_seq)
        .limit(limit)
        .with_for_update(skip_locked=True, of=turns)
        # A CTE runs once: a planner may run a subquery again for each row, and pick more than the limit.
        .cte("waiting")
    )
    thread_id = select(threads.c.id).where(threads.c.key == turns.c.thread_key).scalar_subquery()
    crashes = turns.c.crashes + case((turns.c.state == "running", 1), else_=0)
    picked_rows = connection.execute(
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
    return [_wake_up(row) for row in sorted(picked_rows, key=lambda row: row.arrival_seq)]


def _waiting_heads(heads_asked_for: Select[Any], *, grace_seconds: float, tenant_max_running: int) -> Select[Any]:
    """Of some heads, those that could run, that no worker holds, and that were not notified lately."""
    return (
        select(turns.c.arrival_seq)
        .join(threads, turns.c.thread_key == threads.c.key)
        .where(
            turns.c.arrival_seq.in_(heads_asked_for),
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
