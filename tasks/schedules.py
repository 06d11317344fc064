"""What is done by the clock, and how often: the one place that says so.

What stays true: beat ticks at least once in each period; the database gives each period's run to one
process. A schedule is stale when no run of it ended well for two periods and a while.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from conversation.task_contract import (
    COLLECT_FILES,
    EXPIRE_UPLOADS,
    REFRESH_STATISTICS,
    RUN_PURGE,
    RUN_RETENTION,
    RUN_SUMMARIES,
)
from store import schedule_runs
from store.database.engine import Database
from store.schedule_runs import LastRun
from store.settings import Settings
from store.turns import workers

#: Seconds between two looks for uploads that are over.
EXPIRE_SECONDS = 600.0
#: Seconds beyond two periods before a schedule counts as stale: a tick, a queue, a slow start.
LATE_SECONDS = 180.0

#: Seconds between two runs, by the name of the task.
PERIODS: Mapping[str, Callable[[Settings], float]] = {
    RUN_SUMMARIES: lambda settings: settings.summarize_seconds,
    RUN_RETENTION: lambda settings: settings.retention_seconds,
    RUN_PURGE: lambda settings: settings.retention_seconds,
    COLLECT_FILES: lambda settings: settings.collect_seconds,
    EXPIRE_UPLOADS: lambda _: EXPIRE_SECONDS,
    REFRESH_STATISTICS: lambda settings: settings.statistics_seconds,
}

State = Literal["ok", "running", "failed", "stale", "never"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How a schedule stands."""

    name: str
    every_seconds: float
    state: State
    #: Its newest run; None if it never ran.
    last: LastRun | None


def states(database: Database, settings: Settings) -> list[Schedule]:
    """How each schedule stands, by the database's clock.

    One that never ran is stale once a worker has been there for as long as it should have taken.
    """
    runs = {run.schedule: run for run in database.run(schedule_runs.last_runs)}
    up_seconds = database.run(workers.longest_up)
    return [
        _state(name, period(settings), runs.get(name), up_seconds) for name, period in sorted(PERIODS.items())
    ]


def _state(name: str, every: float, last: LastRun | None, up_seconds: float) -> Schedule:
    patience = 2 * every + LATE_SECONDS
    state: State
    if last is None:
        state = "stale" if up_seconds > patience else "never"
    elif last.good_seconds_ago is None or last.good_seconds_ago > patience:
        # One that began lately may be the first, or the first in a while: it has its time, too.
        is_fresh = last.finished_at is None and last.age_seconds < patience
        state = "running" if is_fresh else "stale"
    elif last.finished_at is None:
        state = "running"
    else:
        state = "failed" if last.error is not None else "ok"
    return Schedule(name=name, every_seconds=every, state=state, last=last)


def described(found: Schedule) -> dict[str, Any]:
    """As a command prints it."""
    last = found.last
    return {
        "schedule": found.name,
        "state": found.state,
        "every_seconds": found.every_seconds,
        "due_at": last.due_at.isoformat() if last else None,
        "started_at": last.started_at.isoformat() if last else None,
        "finished_at": last.finished_at.isoformat() if last and last.finished_at else None,
        "outcome": last.outcome if last else None,
        "error": last.error if last else None,
    }
