"""`threadmill schedules`: the periodic tasks, and the outcomes of their last runs."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import typer

from threadmill.cli.common_options import AsJson, open_database
from threadmill.cli.output import print_list

if TYPE_CHECKING:
    from tasks.schedules import ScheduleStatus


def schedules(as_json: AsJson = False) -> None:
    """Show each schedule's newest run.

    Exit status 1 where one is stale: no run of it succeeded for two periods.
    """
    from tasks.schedules import load_statuses, to_json

    with open_database() as (database, settings):
        schedule_statuses = load_statuses(database, settings)
    columns: dict[str, Callable[[ScheduleStatus], object]] = {
        "STATE": lambda schedule: schedule.state,
        "SCHEDULE": lambda schedule: schedule.name,
        "STARTED": lambda schedule: schedule.last_run and schedule.last_run.started_at,
        "OUTCOME": _outcome,
    }
    print_list(schedule_statuses, columns, empty="no schedules are known", as_json=as_json, to_json=to_json)
    if any(schedule.state == "stale" for schedule in schedule_statuses):
        raise typer.Exit(1)


def _outcome(schedule: "ScheduleStatus") -> str:
    """The error of the newest run, or what it did."""
    if schedule.last_run is None:
        return ""
    counts = (schedule.last_run.outcome or {}).items()
    return schedule.last_run.error or ", ".join(
        f"{n}={value}" for n, value in counts if value and isinstance(value, int)
    )
