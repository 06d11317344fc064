"""Leases and the turns that they are for.

What stays true: no turn is taken from a living worker. Traces of a dead worker are found only after the
time in which the sweep and the next claim put them right by themselves, and then they are put where
those would find them: the turn is queued again, and the crash counts.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, exists, false, not_, or_, select, true, update

from store.database.column_types import clock
from store.database.statements import AnyRow
from store.doctor.finding import Check, Finding
from store.doctor.inspection import Inspection, Scope
from store.doctor.row_check import RowCheck, report_row, thread_columns
from store.tables import threads, turns, workers
from store.tables.turns import unfinished
from store.turns import attempts
from store.turns.attempts import AttemptOutcome
from store.turns.next_turn import can_start, is_abandoned, is_alive, is_head, is_within_running_limit
from store.turns.unserved import is_unserved, list_served_agents

_runs_a_turn = (
    exists().where(turns.c.thread_key == threads.c.key, unfinished, turns.c.state == "running").correlate(threads)
)


def _is_quiet(seconds: float) -> ColumnElement[bool]:
    """Whether no worker or caller wrote to the thread for so long."""
    return threads.c.updated_at < clock(plus_seconds=-seconds)


def _is_long_dead(scope: Scope) -> ColumnElement[bool]:
    """Whether the owner's row is gone, or expired so long ago. A thread without an owner counts as well."""
    is_recently_alive = workers.c.lease_expires_at >= clock(plus_seconds=-scope.older_than_seconds)
    return not_(exists().where(workers.c.id == threads.c.lease_owner, is_recently_alive).correlate(threads))


def _select_leases(_: Connection, scope: Scope, *, of_the_living: bool) -> Select[Any]:
    owner = is_alive(threads.c.lease_owner) if of_the_living else _is_long_dead(scope)
    return select(*thread_columns(), threads.c.lease_owner, threads.c.fencing_token).where(
        threads.c.lease_owner.is_not(None), owner, not_(_runs_a_turn), _is_quiet(scope.older_than_seconds)
    )


def _report_lease(row: AnyRow, *, detail: str) -> Finding:
    return report_row(row, detail, is_repairable=True, worker=row.lease_owner)


def _release_lease(connection: Connection, row: AnyRow) -> str:
    # The token stays: a holder that lives and was only slow may still claim with it.
    connection.execute(update(threads).where(threads.c.key == row.key).values(lease_owner=None))
    return "the lease was released"


def _select_left_running(_: Connection, scope: Scope) -> Select[Any]:
    return (
        select(*thread_columns(), turns.c.id.label("turn_id"), threads.c.lease_owner)
        .join(threads, turns.c.thread_key == threads.c.key)
        .where(
            unfinished,
            turns.c.state == "running",
            # No worker may run a dead caller's turn: it needs to be ended, not to be queued.
            not_(is_abandoned()),
            _is_long_dead(scope),
            _is_quiet(scope.older_than_seconds),
        )
    )


def _report_left_running(row: AnyRow) -> Finding:
    reason = "nobody holds its thread" if row.lease_owner is None else "its worker is long dead"
    return report_row(row, f"it runs, and {reason}", is_repairable=True, turn=row.turn_id, worker=row.lease_owner)


def _queue_again(connection: Connection, row: AnyRow) -> str:
    """Queue a turn as the next claim would; a worker that wakes up after all owns and writes nothing."""
    crash_columns = (
        {"crashes": turns.c.crashes + 1, "crashed_worker": row.lease_owner} if row.lease_owner is not None else {}
    )
    outcome = AttemptOutcome.INTERRUPTED if row.lease_owner is None else AttemptOutcome.CRASHED
    connection.execute(attempts.insert_ended(turns.c.id == row.turn_id, outcome, worker=row.lease_owner))
    connection.execute(
        update(turns).where(turns.c.id == row.turn_id).values(state="queued", notified_at=None, **crash_columns)
    )
    connection.execute(update(threads).where(threads.c.key == row.key).values(lease_owner=None, updated_at=clock()))
    return "the turn was queued again"


def _select_unclaimed(connection: Connection, scope: Scope) -> Select[Any]:
    long_ago = clock(plus_seconds=-scope.unclaimed_seconds)
    due_conditions = [
        or_(time.is_(None), time < long_ago) for time in (turns.c.created_at, turns.c.not_before, turns.c.retry_at)
    ]
    # Without workers, the thread's next caller ends it: it waits for that as long as it takes.
    needs_ending = is_abandoned() if connection.dialect.name == "postgresql" else not_(true())
    is_waiting = or_(and_(turns.c.state == "queued", not_(is_abandoned())), needs_ending)
    return (
        select(*thread_columns(), turns.c.id.label("turn_id"), turns.c.agent, turns.c.local_process_id, turns.c.crashes)
        .join(threads, turns.c.thread_key == threads.c.key)
        .where(
            unfinished,
            is_head(),
            can_start(),
            is_within_running_limit(scope.tenant_max_running),
            is_waiting,
            or_(threads.c.lease_owner.is_(None), not_(is_alive(threads.c.lease_owner))),
            *due_conditions,
            _is_quiet(scope.unclaimed_seconds),
        )
    )


def _find_unclaimed(inspection: Inspection) -> Iterator[Finding]:
    for row, is_served in inspection.run(_read_unclaimed, scope=inspection.scope):
        yield report_row(row, _explain_unclaimed(row, is_served=is_served), turn=row.turn_id, agent=row.agent)


def _read_unclaimed(connection: Connection, scope: Scope) -> list[tuple[AnyRow, bool]]:
    statement = _select_unclaimed(connection, scope).where(scope.covers(threads.c.tenant))
    rows = connection.execute(statement.order_by(turns.c.arrival_seq).limit(scope.findings + 1)).all()
    if not rows:
        return []
    served_agents = list_served_agents(connection)
    return [(row, row.agent in served_agents) for row in rows]


def _explain_unclaimed(row: AnyRow, *, is_served: bool) -> str:
    if row.local_process_id is not None:
        return "the program that ran it for itself does not go on with it, and nobody ended it"
    if not is_served:
        return f"no living worker serves the agent {row.agent!r}"
    if row.crashes >= 2:
        return f"it stood in {row.crashes} crashes: only a worker on the queue `quarantine` takes it"
    return f"workers serve the agent {row.agent!r}, but none came for it: does the sweep run?"


def _select_unserved(connection: Connection, _: Scope) -> Select[Any]:
    served_agents = list_served_agents(connection)
    # While all workers are away, as in a deployment, no agent is missing: what waits for long is unclaimed.
    is_missing = is_unserved(served_agents) if served_agents else false()
    return (
        select(*thread_columns(), turns.c.id.label("turn_id"), turns.c.agent)
        .join(threads, turns.c.thread_key == threads.c.key)
        .where(is_missing)
    )


def _report_unserved(row: AnyRow) -> Finding:
    return report_row(row, f"no living worker serves the agent {row.agent!r}", turn=row.turn_id, agent=row.agent)


CHECKS: tuple[Check, ...] = (
    RowCheck(
        name="lease-held-by-nobody",
        means="a thread is owned by a worker that is dead, and none of its turns runs",
        advice="the lease is released",
        select_rows=partial(_select_leases, of_the_living=False),
        report=partial(_report_lease, detail="its owner is dead, and no turn runs"),
        repair=_release_lease,
    ).build(),
    RowCheck(
        name="lease-without-turn",
        means="a living worker owns a thread for long and runs no turn of it",
        advice="the lease is released",
        select_rows=partial(_select_leases, of_the_living=True),
        report=partial(_report_lease, detail="its owner lives, and no turn runs"),
        repair=_release_lease,
    ).build(),
    RowCheck(
        name="turn-without-lease",
        means="a turn runs, and nobody holds its thread, or its worker is long dead",
        advice="the turn is queued again, and the crash counts",
        select_rows=_select_left_running,
        identity={"turn_id": turns.c.id},
        report=_report_left_running,
        repair=_queue_again,
    ).build(),
    RowCheck(
        name="turn-unserved",
        means="a turn waits for an agent that no living worker serves",
        advice="start a worker that serves it, `threadmill turns requeue --by` another one, or cancel the turn",
        select_rows=_select_unserved,
        identity={"turn_id": turns.c.id},
        report=_report_unserved,
    ).build(),
    Check(
        name="turn-unclaimed",
        means="a turn is due for long, its thread is free, and no worker claims it",
        advice="start a worker that serves the agent; see that beat and the maintenance worker run",
        find=_find_unclaimed,
    ),
)
