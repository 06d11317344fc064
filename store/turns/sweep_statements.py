"""The sweep in plain statements, where there are no functions: on SQLite, or where PostgreSQL shall have none.

What stays true: as the sweep itself says. `store/functions/pick_wake_ups_v1.sql` does the same.
"""

from functools import cache
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
    exists,
    false,
    func,
    or_,
    select,
    true,
    union_all,
    update,
)
from sqlalchemy.sql.dml import ReturningUpdate

from conversation.task_contract import QUARANTINE_QUEUE, TURNS_QUEUE, WakeUp
from store.database.column_types import clock, moment_now
from store.database.statements import execute_together
from store.tables import threads, turns, workers
from store.tables.turns import queued, unfinished
from store.turns.claim_request import SHARED_CRASHES
from store.turns.interrupts import select_interrupted
from store.turns.next_turn import must_end_at
from store.turns.sweep_request import SweepRequest, build_wake_up
from store.turns.waiting import is_waiting_head, select_never_notified, select_notified, take_first


def pick_wake_ups(connection: Connection, request: SweepRequest) -> list[WakeUp]:
    """Pick the heads that no worker holds and whose wake-up is lost, or was never published; mark them as notified."""
    line = _candidates(request)
    candidates = union_all(
        select(line.c.id),
        _lost(),
        take_first(_must_end(), request.window),
        take_first(select_interrupted(), request.window),
    )
    waiting_heads = (
        select(turns.c.id)
        .join(threads, turns.c.thread_key == threads.c.key)
        .where(is_waiting_head(request.tenant_max_running), _may_be_notified(request))
        .where(turns.c.id.in_(candidates), _is_asked_for(request))
        .order_by(turns.c.arrival_seq)
        .limit(request.limit)
        .with_for_update(skip_locked=True, of=turns)
        # A CTE runs once: a planner may run a subquery again for each row, and pick more than the limit.
        .cte("waiting")
    )
    postponement = [] if request.is_limited else [_postpone_unready(line, request, waiting_heads)]
    picked_rows = execute_together(connection, postponement, _mark_notified(waiting_heads))
    return [build_wake_up(*row[1:]) for row in sorted(picked_rows, key=lambda row: row.arrival_seq)]


def _mark_notified(waiting_heads: CTE) -> ReturningUpdate[Any]:
    thread_id = select(threads.c.id).where(threads.c.key == turns.c.thread_key).scalar_subquery()
    return (
        update(turns)
        .where(turns.c.id.in_(select(waiting_heads.c.id)))
        .values(notified_at=clock())
        .returning(
            turns.c.arrival_seq,
            turns.c.tenant,
            thread_id.label("thread_id"),
            turns.c.id,
            turns.c.priority,
            _crashes().label("crashes"),
        )
    )


def _postpone_unready(line: CTE, request: SweepRequest, waiting_heads: CTE) -> Update:
    """Move turns that wait for others to the end of the line, where they leave a sweep too little to pick."""
    unready = (
        select(turns.c.id)
        .where(turns.c.id.in_(select(line.c.id)), queued)
        .where(turns.c.id.not_in(select(waiting_heads.c.id)))
        .with_for_update(skip_locked=True)
        .cte("unready")
    )
    is_full = _count(line) >= request.window, _count(waiting_heads) < request.limit
    is_unready = turns.c.id.in_(select(unready.c.id))
    return update(turns).where(*is_full, is_unready).values(notified_at=clock())


def _count(rows: CTE) -> ScalarSelect[int]:
    return select(func.count()).select_from(rows).scalar_subquery()


def _candidates(request: SweepRequest) -> CTE:
    """So many turns that were never notified and are due, and so many whose notification is old; or the asked for."""
    if not request.is_limited:
        lines = select_never_notified(), select_notified(for_seconds=request.grace_seconds or 0)
        return union_all(*(take_first(line, request.window) for line in lines)).cte("line")
    asked_for = select(turns.c.id).where(turns.c.state == "queued", _is_asked_for(request))
    # In the order of the index: those that wait have no end yet.
    return asked_for.order_by(turns.c.finished_at, turns.c.arrival_seq).limit(request.window).cte("line")


def _is_asked_for(request: SweepRequest) -> ColumnElement[bool]:
    return and_(
        true() if request.tenant is None else turns.c.tenant == request.tenant,
        true() if request.thread_keys is None else turns.c.thread_key.in_(request.thread_keys),
    )


@cache
def _must_end() -> Select[Any]:
    return select(turns.c.id).where(unfinished, must_end_at <= moment_now()).order_by(must_end_at)


@cache
def _lost() -> Select[Any]:
    """The turns that run according to their row, though no living worker holds their thread."""
    living_workers = select(workers.c.id).where(workers.c.lease_expires_at > moment_now())
    is_lost = or_(threads.c.lease_owner.is_(None), threads.c.lease_owner.not_in(living_workers))
    running = select(turns.c.id).join(threads, turns.c.thread_key == threads.c.key)
    return running.where(turns.c.state == "running", is_lost)


def _may_be_notified(request: SweepRequest) -> ColumnElement[bool]:
    """Whether no wake-up of the turn is outstanding: there was none, or it is old and has got lost."""
    if request.grace_seconds is None:
        return turns.c.notified_at.is_(None)
    is_old = turns.c.notified_at < clock(plus_seconds=-request.grace_seconds)
    if not any(request.in_broker.values()):
        return or_(turns.c.notified_at.is_(None), is_old)
    is_quarantined = _crashes() == SHARED_CRASHES
    quarantine_is_empty = false() if request.in_broker.get(QUARANTINE_QUEUE) else true()
    is_beyond = turns.c.notified_at <= _newest_beyond(request.in_broker.get(TURNS_QUEUE, 0))
    has_living_worker = exists().where(workers.c.lease_expires_at > moment_now())
    is_stuck = and_(turns.c.notified_at < clock(plus_seconds=-request.stuck_seconds), has_living_worker)
    is_lost = or_(case((is_quarantined, quarantine_is_empty), else_=is_beyond), is_stuck)
    return or_(turns.c.notified_at.is_(None), and_(is_old, is_lost))


def _newest_beyond(wake_ups: int) -> ScalarSelect[Any]:
    """The time of the newest notification for which the broker has no wake-up left, if it has those of the newest.

    Null where it has as many as there are turns that wait for one.
    """
    is_notified = and_(turns.c.notified_at.is_not(None), _crashes() != SHARED_CRASHES)
    notified = select(turns.c.notified_at).where(queued, is_notified)
    # Of the turns that run for nobody, too: a crash may leave many.
    lost = select(turns.c.notified_at).where(turns.c.id.in_(_lost()), is_notified)
    newest = [each.order_by(turns.c.notified_at.desc()).limit(wake_ups + 1).subquery() for each in (notified, lost)]
    outstanding = union_all(*(select(each.c.notified_at) for each in newest)).cte("outstanding")
    return (
        select(outstanding.c.notified_at)
        .order_by(outstanding.c.notified_at.desc())
        .offset(wake_ups)
        .limit(1)
        .scalar_subquery()
    )


def _crashes() -> ColumnElement[int]:
    """The crashes of a turn, with the one that its next claim would count."""
    return turns.c.crashes + case((turns.c.state == "running", 1), else_=0)
