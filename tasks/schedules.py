"""The state of the schedules: the periodic tasks whose runs are claimed in the database.

What stays true: beat ticks at least once in each period; the database gives each period's run to one
process. A schedule is stale when no run of it ended well for two periods and a while.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from conversation.task_contract import PERIODIC_TASKS, PeriodicTask
from store import schedule_runs
from store.database.engine import Database
from store.schedule_runs import LastRun
from store.settings import Settings
from store.turns import workers

#: Seconds beyond two periods before a schedule counts as stale: a tick, a queue, a slow start.
LATE_SECONDS = 180.0

#: The tasks whose runs are claimed, by name.
SCHEDULES: Mapping[str, PeriodicTask] = {
    periodic.task: periodic for periodic in PERIODIC_TASKS.values() if periodic.period is not None
}

State = Literal["ok", "running", "failed", "stale", "never"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleStatus:
    """The state of one schedule."""

    name: str
    every_seconds: float
    state: State
    #: Its newest run; None if it never ran.
    last_run: LastRun | None


def load_statuses(database: Database, settings: Settings) -> list[ScheduleStatus]:
    """Load the state of each schedule, by the database's clock.

    One that never ran is stale once a worker has been there for as long as it should have taken.
    """
    runs = {run.schedule: run for run in database.run(schedule_runs.list_last_runs)}
    up_seconds = database.run(workers.longest_uptime_seconds)
    return [
        _status_of(name, SCHEDULES[name].period_seconds(settings), runs.get(name), up_seconds)
        for name in sorted(SCHEDULES)
    ]


def _status_of(name: str, interval_seconds: float, last_run: LastRun | None, up_seconds: float) -> ScheduleStatus:
    stale_after_seconds = 2 * interval_seconds + LATE_SECONDS
    state: State
    if last_run is None:
        state = "stale" if up_seconds > stale_after_seconds else "never"
    elif last_run.seconds_since_success is None or last_run.seconds_since_success > stale_after_seconds:
        # One that began lately may be the first, or the first in a while: it has its time, too.
        is_fresh = last_run.finished_at is None and last_run.age_seconds < stale_after_seconds
        state = "running" if is_fresh else "stale"
    elif last_run.finished_at is None:
        state = "running"
    else:
        state = "failed" if last_run.error is not None else "ok"
    return ScheduleStatus(name=name, every_seconds=interval_seconds, state=state, last_run=last_run)


def to_json(status: ScheduleStatus) -> dict[str, Any]:
    """The status as a command prints it."""
    last_run = status.last_run
    return {
        "schedule": status.name,
        "state": status.state,
        "every_seconds": status.every_seconds,
        "due_at": last_run.due_at.isoformat() if last_run else None,
        "started_at": last_run.started_at.isoformat() if last_run else None,
        "finished_at": last_run.finished_at.isoformat() if last_run and last_run.finished_at else None,
        "outcome": last_run.outcome if last_run else None,
        "error": last_run.error if last_run else None,
    }
