"""`threadmill schedules`: what is done by the clock, and how the last runs ended."""

import typer

from threadmill.cli.common_options import AsJson, print_json


def schedules(as_json: AsJson = False) -> None:
    """Show each schedule's newest run.

    Exit status 1 where one is stale: no run of it ended well for two periods.
    """
    from store.database.engine import Database
    from store.settings import load
    from tasks.schedules import described, states

    settings = load()
    database = Database(settings)
    try:
        found = states(database, settings)
    finally:
        database.close()
    for schedule in found:
        said = described(schedule)
        if as_json:
            print_json(said)
            continue
        outcome = (said["outcome"] or {}).items()
        counts = ", ".join(f"{name}={value}" for name, value in outcome if value and isinstance(value, int))
        told = said["error"] or counts
        print(f"{schedule.state:<8} {schedule.name:<20} {said['started_at'] or '':<33} {told}")
    if any(schedule.state == "stale" for schedule in found):
        raise typer.Exit(1)
