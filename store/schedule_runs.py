"""Runs of schedules: a row for each, unique by schedule and time, so that two beats do one run.

What stays true: the process that inserts the row of a period has that run; a period whose tick was
lost is made up for by the next tick in it; the row says how a run ended, or that it did not.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, delete, select, update

from store.database.column_types import clock
from store.database.sqlite import read_only
from store.database.statements import convert_row, insert_for
from store.tables import schedule_runs

#: How long the rows of runs are kept, for an operator to inspect.
KEEP_RUNS = timedelta(days=30)
#: Characters of an error: enough for an operator.
ERROR_MAX_CHARS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleRun:
    """A run that its caller has claimed."""

    schedule: str
    due_at: datetime
    #: The outcome of the newest run that ended well: where it left off, for a schedule that goes on there.
    last_outcome: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class LastRun:
    """The newest run of a schedule."""

    schedule: str
    due_at: datetime
    started_at: datetime
    #: None while it runs, and of one whose process died.
    finished_at: datetime | None
    #: Counts, by name.
    outcome: dict[str, Any] | None
    error: str | None
    #: Seconds since it began, by the database's clock.
    age_seconds: float
    #: Seconds since a run of this schedule ended well; None if none did.
    seconds_since_success: float | None = None


def claim_run(connection: Connection, schedule: str, *, every_seconds: float) -> ScheduleRun | None:
    """Claim the current period's run; None if another process has it."""
    now = connection.execute(select(clock())).scalar_one()
    due_at = datetime.fromtimestamp(now.timestamp() // every_seconds * every_seconds, tz=UTC)
    claim = insert_for(connection, schedule_runs).values(schedule=schedule, due_at=due_at, started_at=clock())
    claimed_rows = connection.execute(claim.on_conflict_do_nothing().returning(schedule_runs.c.due_at)).all()
    if not claimed_rows:
        return None
    of_schedule = schedule_runs.c.schedule == schedule
    connection.execute(delete(schedule_runs).where(of_schedule, schedule_runs.c.due_at < due_at - KEEP_RUNS))
    outcomes = select(schedule_runs.c.outcome).where(of_schedule, schedule_runs.c.outcome.is_not(None))
    last_outcome = connection.execute(outcomes.order_by(schedule_runs.c.due_at.desc()).limit(1)).scalar()
    return ScheduleRun(schedule=schedule, due_at=due_at, last_outcome=last_outcome or {})


def finish_run(connection: Connection, run: ScheduleRun, outcome: dict[str, Any]) -> None:
    """Record the outcome of a run."""
    connection.execute(_update_run(run).values(finished_at=clock(), outcome=outcome))


def fail_run(connection: Connection, run: ScheduleRun, error: str) -> None:
    """Record why a run broke off. The next period has another one."""
    connection.execute(_update_run(run).values(finished_at=clock(), error=error[:ERROR_MAX_CHARS]))


@read_only
def list_last_runs(connection: Connection) -> list[LastRun]:
    """The newest run of each schedule that ever ran, by name."""
    now = connection.execute(select(clock())).scalar_one()
    names = connection.execute(select(schedule_runs.c.schedule).distinct().order_by(schedule_runs.c.schedule)).scalars()
    runs = []
    for name in names.all():
        newest = select(schedule_runs).where(schedule_runs.c.schedule == name)
        newest = newest.order_by(schedule_runs.c.due_at.desc()).limit(1)
        row = connection.execute(newest).one()
        success = connection.execute(newest.where(schedule_runs.c.outcome.is_not(None))).one_or_none()
        age_seconds = (now - row.started_at).total_seconds()
        since_success = None if success is None else (now - success.finished_at).total_seconds()
        runs.append(convert_row(row, LastRun, age_seconds=age_seconds, seconds_since_success=since_success))
    return runs


def _update_run(run: ScheduleRun) -> Any:
    return update(schedule_runs).where(schedule_runs.c.schedule == run.schedule, schedule_runs.c.due_at == run.due_at)
