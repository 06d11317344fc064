"""Checks of schedules: those whose time has passed, and those that cannot be run."""

from collections.abc import Iterator

from sqlalchemy import Connection, select

from store.database.column_types import clock, moment_now
from store.database.statements import AnyRow
from store.doctor.finding import Check, Finding
from store.doctor.inspection import Inspection, Scope
from store.schedules.runs import due_at, is_active
from store.tables import schedules

#: Seconds that a schedule may be due: a tick, a queue, a slow start.
OVERDUE_SECONDS = 600.0
#: Runs in a row that were refused, or broke, before a schedule counts as one that cannot be run.
MAX_FAILURES = 5


def _read_overdue(connection: Connection, *, scope: Scope, limit: int) -> list[AnyRow]:
    is_overdue = due_at <= moment_now(plus_seconds=-OVERDUE_SECONDS)
    statement = select(schedules.c.id, schedules.c.tenant, due_at.label("due_at"), clock().label("now"))
    statement = statement.where(is_active, is_overdue, scope.covers(schedules.c.tenant))
    return list(connection.execute(statement.order_by(due_at).limit(limit)))


def _find_overdue(inspection: Inspection) -> Iterator[Finding]:
    for row in inspection.run(_read_overdue, scope=inspection.scope, limit=inspection.scope.findings + 1):
        seconds = (row.now - row.due_at).total_seconds()
        ids = {"tenant": row.tenant, "schedule": row.id}
        yield Finding(ids=ids, detail=f"it has been due for {seconds:.0f} s, and nobody runs it", is_repairable=False)


def _read_failing(connection: Connection, *, scope: Scope, limit: int) -> list[AnyRow]:
    statement = select(schedules.c.id, schedules.c.tenant, schedules.c.failures)
    statement = statement.where(is_active, schedules.c.failures >= MAX_FAILURES, scope.covers(schedules.c.tenant))
    return list(connection.execute(statement.order_by(schedules.c.key).limit(limit)))


def _find_failing(inspection: Inspection) -> Iterator[Finding]:
    for row in inspection.run(_read_failing, scope=inspection.scope, limit=inspection.scope.findings + 1):
        ids = {"tenant": row.tenant, "schedule": row.id}
        yield Finding(ids=ids, detail=f"its run was refused {row.failures} times in a row", is_repairable=False)


CHECKS: tuple[Check, ...] = (
    Check(
        name="schedule-overdue",
        means="a schedule's time passed long ago, and its message was not sent",
        advice="check that beat and a worker of the queue maintenance run: the next tick runs it, by its policy",
        find=_find_overdue,
    ),
    Check(
        name="schedule-refused",
        means="the runs of a schedule are refused again and again",
        advice="`threadmill recurring show` says why; delete it, or make room for its tenant",
        find=_find_failing,
    ),
)
