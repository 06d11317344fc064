"""`threadmill retention`: delete what is past its time, now."""

from dataclasses import asdict
from typing import Annotated

import typer

from threadmill.cli.opened import AsJson, print_json


def retention(
    days: Annotated[
        float | None,
        typer.Option(min=0, help="Days since a thread's last change; without it, THREADMILL_RETENTION_DAYS."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete threads that nobody changed for so many days, and blobs that no message has any more.

    Threads under legal hold, or with work ahead, stay. Beat does the same by itself.
    """
    from conversation.logs import use_standard_logging
    from store.engine import Database
    from store.settings import load
    from tasks.retention import run_retention

    use_standard_logging()
    settings = load()
    days = settings.retention_days if days is None else days
    if days and not yes:
        typer.confirm(f"Delete threads that were not changed for {days:g} days, for good?", abort=True)
    database = Database(settings)
    try:
        deleted = run_retention(database, settings.model_copy(update={"retention_days": days}))
    finally:
        database.close()
    if as_json:
        print_json(asdict(deleted))
    else:
        print(f"deleted {deleted.threads} threads and {deleted.blobs} blobs")
