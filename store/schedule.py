"""Runs of schedules: a row for each, unique by schedule and time, so that two beats do one run.

What stays true: who inserts the row of a period has that run; a period whose tick was lost is made
up for by the next tick in it.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, delete, select, update

from store.columns import clock
from store.statements import insert_for
from store.tables import schedule_runs

#: How long the rows of runs are kept, for a person to look at.
KEEP_RUNS = timedelta(days=30)


def claim_run(connection: Connection, schedule: str, *, every_seconds: float) -> datetime | None:
    """Take this period's run: the moment when it was due, or None if somebody has it."""
    now = connection.execute(select(clock())).scalar_one()
    due_at = datetime.fromtimestamp(now.timestamp() // every_seconds * every_seconds, tz=UTC)
    claim = insert_for(connection, schedule_runs).values(schedule=schedule, due_at=due_at, started_at=clock())
    claimed = (
        connection.execute(claim.on_conflict_do_nothing().returning(schedule_runs.c.due_at)).one_or_none()
        is not None
    )
    if claimed:
        old = (schedule_runs.c.schedule == schedule) & (schedule_runs.c.due_at < due_at - KEEP_RUNS)
        connection.execute(delete(schedule_runs).where(old))
    return due_at if claimed else None


def finish_run(connection: Connection, schedule: str, due_at: datetime, outcome: dict[str, Any]) -> None:
    """Note what a run came to."""
    mine = (schedule_runs.c.schedule == schedule) & (schedule_runs.c.due_at == due_at)
    connection.execute(update(schedule_runs).where(mine).values(finished_at=clock(), outcome=outcome))
