"""The sweep: who waits although nobody works on them? Their bells were lost, or their worker died.

What stays true: one bell a thread, oldest first, bounded; a bell is marked as rung in the same
transaction that picks it, so that two sweeps at once ring each thread once.
"""

from typing import Any

from sqlalchemy import Connection, Select, case, not_, or_, select, true, update

from conversation.task_contract import SUSPECTS_QUEUE, TURNS_QUEUE, Bell
from store.database.column_types import clock
from store.database.statements import AnyRow
from store.tables import threads, turns
from store.turns.claims import SHARED_CRASHES
from store.turns.next_turn import can_start, has_room, heads, is_abandoned, is_alive


def due_bells(
    connection: Connection,
    *,
    grace_seconds: float,
    limit: int,
    tenant_max_running: int = 0,
    tenant: str | None = None,
) -> list[Bell]:
    """Pick the heads that nobody holds and that were not rung lately, and mark them as rung.

    Of one tenant, or of all; of tenants that run as many turns as they may, none.
    """
    waiting = (
        _waiting(grace_seconds=grace_seconds, tenant_max_running=tenant_max_running)
        .where(true() if tenant is None else turns.c.tenant == tenant)
        .order_by(turns.c.position)
        .limit(limit)
        .with_for_update(skip_locked=True, of=turns)
        # Run once and for all: a planner may run a subquery again for each row, and pick more than asked.
        .cte("waiting")
    )
    thread_id = select(threads.c.id).where(threads.c.key == turns.c.thread_key).scalar_subquery()
    crashes = turns.c.crashes + case((turns.c.state == "running", 1), else_=0)
    picked = connection.execute(
        update(turns)
        .where(turns.c.position.in_(select(waiting.c.position)))
        .values(rung_at=clock())
        .returning(
            turns.c.position,
            turns.c.tenant,
            thread_id.label("thread_id"),
            turns.c.id,
            turns.c.priority,
            crashes.label("crashes"),
        )
    )
    return [_bell(row) for row in sorted(picked, key=lambda row: row.position)]


def _waiting(*, grace_seconds: float, tenant_max_running: int) -> Select[Any]:
    """The heads that could run, that nobody holds, and that were not rung lately."""
    return (
        select(turns.c.position)
        .join(threads, turns.c.thread_key == threads.c.key)
        .where(
            turns.c.position.in_(heads()),
            can_start(),
            has_room(tenant_max_running),
            or_(turns.c.runner.is_(None), is_abandoned()),
            or_(turns.c.rung_at.is_(None), turns.c.rung_at < clock(plus_seconds=-grace_seconds)),
            or_(threads.c.owner.is_(None), not_(is_alive(threads.c.owner))),
        )
    )


def _bell(row: AnyRow) -> Bell:
    return Bell(
        tenant=row.tenant,
        thread_id=row.thread_id,
        turn_id=row.id,
        priority=row.priority,
        queue=SUSPECTS_QUEUE if row.crashes == SHARED_CRASHES else TURNS_QUEUE,
    )
