"""`threadmill files …`: report on stored files, and delete those that no message has."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated

import typer

from threadmill.cli.common_options import AsJson, open_database
from threadmill.cli.output import print_json, print_list, print_text

group = typer.Typer(help="List stored files, and delete those that no message has.", no_args_is_help=True)


@group.command()
def report(as_json: AsJson = False) -> None:
    """Say what `gc` would delete now, and what is in its grace. Nothing is deleted."""
    from store.files import garbage_collection
    from tasks.jobs.collect_files import count_unknown

    with open_database() as (database, settings):
        counts = asdict(database.run(garbage_collection.count_unused, grace_days=settings.blob_grace_days))
        counts |= asdict(count_unknown(database, settings))
    if as_json:
        print_json(counts)
        return
    names = {"due now": "due", "in their grace": "in_grace", "without a row: their grace begins next": "unknown"}
    columns: dict[str, Callable[[str], object]] = {
        "FILES": lambda name: counts[names[name]],
        "BYTES": lambda name: counts[f"{names[name]}_bytes"],
        "STATE": lambda name: name,
    }
    print_list(names, columns, empty="", as_json=False)


@group.command("gc")
def collect_garbage(
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False, as_json: AsJson = False
) -> None:
    """Delete files that no message has any more and whose grace is over; begin that of bytes without a row.

    Beat does the same by itself.
    """
    from tasks.jobs.collect_files import collect_all

    if not yes:
        typer.confirm("Delete what `threadmill files report` shows as due, for good?", abort=True)
    with open_database() as (database, settings):
        result = collect_all(database, settings)
    if as_json:
        print_json({"blobs": result.blobs, "unknown": result.unknown})
    else:
        print_text(f"deleted {result.blobs} files; the grace of {result.unknown} without a row begins")
