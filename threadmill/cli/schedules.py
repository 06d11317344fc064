"""`threadmill schedules`: the periodic tasks, and the outcomes of their last runs."""

import typer

from threadmill.cli.common_options import AsJson, open_database, print_json


def schedules(as_json: AsJson = False) -> None:
    """Show each schedule's newest run.

    Exit status 1 where one is stale: no run of it succeeded for two periods.
    """
    from tasks.schedules import load_statuses, to_json

    with open_database() as (database, settings):
        schedule_statuses = load_statuses(database, settings)
    for schedule in schedule_statuses:
        columns = to_json(schedule)
        if as_json:
            print_json(columns)
            continue
        outcome = (columns["outcome"] or {}).items()
        counts = ", ".join(f"{name}={value}" for name, value in outcome if value and isinstance(value, int))
        note = columns["error"] or counts
        print(f"{schedule.state:<8} {schedule.name:<20} {columns['started_at'] or '':<33} {note}")
    if any(schedule.state == "stale" for schedule in schedule_statuses):
        raise typer.Exit(1)
