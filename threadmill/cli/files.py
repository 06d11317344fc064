"""`threadmill files …`: report on stored files, and delete those that no message has."""

from dataclasses import asdict
from typing import Annotated

import typer

from threadmill.cli.common_options import AsJson, print_json

group = typer.Typer(help="List stored files, and delete those that no message has.", no_args_is_help=True)


@group.command()
def report(as_json: AsJson = False) -> None:
    """Say what `gc` would delete now, and what is in its grace. Nothing is deleted."""
    from store.database.engine import Database
    from store.files import garbage_collection
    from store.settings import load
    from tasks.jobs.collect_files import count_unknown

    settings = load()
    database = Database(settings)
    try:
        counts = asdict(database.run(garbage_collection.count_unused, grace_days=settings.blob_grace_days))
        counts |= asdict(count_unknown(database, settings))
    finally:
        database.close()
    if as_json:
        print_json(counts)
        return
    print(f"due now           {counts['due']} files, {counts['due_bytes']} bytes")
    print(f"in their grace    {counts['in_grace']} files, {counts['in_grace_bytes']} bytes")
    unknown = f"{counts['unknown']} files, {counts['unknown_bytes']} bytes"
    print(f"without a row     {unknown}: their grace begins next")


@group.command("gc")
def collect_garbage(
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False, as_json: AsJson = False
) -> None:
    """Delete files that no message has any more and whose grace is over; begin that of bytes without a row.

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
        result = collect_all(database, settings)
    finally:
        database.close()
    if as_json:
        print_json({"blobs": result.blobs, "unknown": result.unknown})
    else:
        print(f"deleted {result.blobs} files; the grace of {result.unknown} without a row begins")
