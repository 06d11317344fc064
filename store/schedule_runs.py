"""Runs of schedules: a row for each, unique by schedule and time, so that two beats do one run.

What stays true: who inserts the row of a period has that run; a period whose tick was lost is made
up for by the next tick in it; how a run ended, or that it did not, can be read.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, delete, select, update

from store.database.column_types import clock
from store.database.statements import insert_for
from store.tables import schedule_runs

#: How long the rows of runs are kept, for a person to look at.
KEEP_RUNS = timedelta(days=30)
#: Of an error: enough for a person.
ERROR_MAX_CHARS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run that is this caller's."""

    schedule: str
    due_at: datetime
    #: What the newest run came to that ended well: where it left off, for one that goes on there.
    last: dict[str, Any] = field(default_factory=dict)


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
    good_seconds_ago: float | None = None


def claim_run(connection: Connection, schedule: str, *, every_seconds: float) -> Run | None:
    """Take this period's run, or None if somebody has it."""
    now = connection.execute(select(clock())).scalar_one()
    due_at = datetime.fromtimestamp(now.timestamp() // every_seconds * every_seconds, tz=UTC)
    claim = insert_for(connection, schedule_runs).values(schedule=schedule, due_at=due_at, started_at=clock())
    claimed = connection.execute(claim.on_conflict_do_nothing().returning(schedule_runs.c.due_at)).all()
    if not claimed:
        return None
    mine = schedule_runs.c.schedule == schedule
    connection.execute(delete(schedule_runs).where(mine, schedule_runs.c.due_at < due_at - KEEP_RUNS))
    ended_well = select(schedule_runs.c.outcome).where(mine, schedule_runs.c.outcome.is_not(None))
    last = connection.execute(ended_well.order_by(schedule_runs.c.due_at.desc()).limit(1)).scalar()
    return Run(schedule=schedule, due_at=due_at, last=last or {})


def finish_run(connection: Connection, run: Run, outcome: dict[str, Any]) -> None:
    """Note what a run came to."""
    connection.execute(_this(run).values(finished_at=clock(), outcome=outcome))


def fail_run(connection: Connection, run: Run, error: str) -> None:
    """Note why a run broke off. The next period has another one."""
    connection.execute(_this(run).values(finished_at=clock(), error=error[:ERROR_MAX_CHARS]))


def last_runs(connection: Connection) -> list[LastRun]:
    """The newest run of each schedule that ever ran, by name."""
    now = connection.execute(select(clock())).scalar_one()
    names = connection.execute(
        select(schedule_runs.c.schedule).distinct().order_by(schedule_runs.c.schedule)
    ).scalars()
    found = []
    for name in names.all():
        newest = select(schedule_runs).where(schedule_runs.c.schedule == name)
        newest = newest.order_by(schedule_runs.c.due_at.desc()).limit(1)
        row = connection.execute(newest).one()
        good = connection.execute(newest.where(schedule_runs.c.outcome.is_not(None))).one_or_none()
        found.append(
            LastRun(
                schedule=name,
                due_at=row.due_at,
                started_at=row.started_at,
                finished_at=row.finished_at,
                outcome=row.outcome,
                error=row.error,
                age_seconds=(now - row.started_at).total_seconds(),
                good_seconds_ago=(now - good.finished_at).total_seconds() if good is not None else None,
            )
        )
    return found


def _this(run: Run) -> Any:
    return update(schedule_runs).where(
        schedule_runs.c.schedule == run.schedule, schedule_runs.c.due_at == run.due_at
    )
