"""`threadmill files …`: what is stored of files, and what nobody uses any more."""

from dataclasses import asdict
from functools import partial
from typing import Annotated

import typer

from threadmill.cli.common_options import AsJson, print_json

group = typer.Typer(help="Look at stored files, and delete those that no message has.", no_args_is_help=True)


@group.command()
def report(as_json: AsJson = False) -> None:
    """Say what `collect` would delete now, and what has time left. Nothing is deleted."""
    from store.database.engine import Database
    from store.files import garbage_collection
    from store.settings import load
    from tasks.jobs.collect_files import count_unknown

    settings = load()
    database = Database(settings)
    try:
        found = asdict(database.run(partial(garbage_collection.unused, grace_days=settings.blob_grace_days)))
        found |= asdict(count_unknown(database, settings))
    finally:
        database.close()
    if as_json:
        print_json(found)
        return
    print(f"due now           {found['due']} files, {found['due_bytes']} bytes")
    print(f"in their grace    {found['in_grace']} files, {found['in_grace_bytes']} bytes")
    print(
        f"without a row     {found['unknown']} files, {found['unknown_bytes']} bytes: their grace begins next"
    )


@group.command()
def collect(
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False, as_json: AsJson = False
) -> None:
    """Delete files that no message has any more, after their grace, and begin that of bytes without a row.

    Beat does the same by itself.
    """
    from conversation.logs import use_standard_logging
    from store.database.engine import Database
    from store.settings import load
    from tasks.jobs.collect_files import collect_all

    if not yes:
        typer.confirm("Delete what `threadmill files report` shows as due, for good?", abort=True)
    use_standard_logging()
    settings = load()
    database = Database(settings)
    try:
        done = collect_all(database, settings)
    finally:
        database.close()
    if as_json:
        print_json({"blobs": done.blobs, "unknown": done.unknown})
    else:
        print(f"deleted {done.blobs} files; the grace of {done.unknown} without a row begins")
