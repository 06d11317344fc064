"""`threadmill doctor`: find stored state that contradicts itself, and mend what can be mended."""

from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Annotated

import typer

from threadmill.cli.common_options import AsJson
from threadmill.cli.output import print_json, print_text

if TYPE_CHECKING:
    from store.doctor import Examination, Note, Result, Scope
    from store.settings import Settings

#: Leases after which no worker goes on by itself with what a dead one left behind.
LEASES = 4
#: Exit status: what was examined is healthy, but the time was over before all was examined.
NOT_IN_TIME = 3


def doctor(
    repair: Annotated[bool, typer.Option("--repair", help="Mend what can be mended without a guess.")] = False,
    tenant: Annotated[str | None, typer.Option(help="Check this tenant only.")] = None,
    check: Annotated[list[str] | None, typer.Option(help="Run this check only; may be repeated.")] = None,
    skip: Annotated[list[str] | None, typer.Option(help="Leave this check out; may be repeated.")] = None,
    seconds: Annotated[float, typer.Option(min=0, help="Begin nothing more after so long.")] = 300,
    threads: Annotated[
        int, typer.Option(min=1, help="Read the histories of so many threads, the newest first.")
    ] = 10_000,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Findings of one check, at most.")] = 100,
    older_than: Annotated[
        float | None,
        typer.Option(min=0, help="Seconds after which a dead worker's lease counts; without it, four leases."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Find stored state that contradicts itself: leases, turns, histories, tool calls, files.

    It may run beside living workers. Nothing that was said is changed, moved
    or deleted; only ids are printed. Without --repair it only reports.

    Exit status: 0 healthy, or everything was mended; 1 something is wrong, or
    could not be examined; 3 the time was over before everything was examined.
    """
    from conversation.validation import check_tenant
    from store.doctor import Scope
    from store.settings import load

    settings = load()
    scope = Scope(
        tenant=None if tenant is None else check_tenant(tenant),
        older_than_seconds=LEASES * settings.lease_duration_seconds if older_than is None else older_than,
        tenant_max_running=settings.tenant_max_running_turns.count,
        findings=limit,
        threads=threads,
        seconds=seconds,
    )
    results = _examine(settings, scope, repairs=repair, only=check or (), skip=skip or (), as_json=as_json)
    raise typer.Exit(_status(results))


def _examine(
    settings: "Settings", scope: "Scope", *, repairs: bool, only: Sequence[str], skip: Sequence[str], as_json: bool
) -> list["Result"]:
    """Examine the database and the file store of the settings, and print what was found."""
    from store import migrations
    from store.blobs import open_file_store
    from store.database.engine import Database
    from store.doctor import Examination

    with closing(Database(settings)) as database, closing(open_file_store(settings)) as files:
        database.run(migrations.check)
        examination = Examination(database=database, files=files, scope=scope, repairs=repairs, only=only, skip=skip)
        return _print_results(examination, as_json=as_json)


def _print_results(examination: "Examination", *, as_json: bool) -> list["Result"]:
    """Print each result as soon as it is there; as JSON, all at the end."""
    results = []
    for result in examination.run():
        results.append(result)
        if not as_json:
            _print_result(result)
    if as_json:
        is_complete = not any(result.bounds_reached for result in results)
        checks = [result.to_json() for result in results]
        print_json({"healthy": _status(results) == 0, "complete": is_complete, "checks": checks})
    else:
        print_text(_summary_line(results))
    return results


def _status(results: Sequence["Result"]) -> int:
    if any(result.is_wrong for result in results):
        return 1
    return NOT_IN_TIME if any("seconds" in result.bounds_reached for result in results) else 0


def _print_result(result: "Result") -> None:
    """Print the result of one check; nothing where it found nothing."""
    bound_note = (
        f"; left out by the bound on {', '.join(sorted(result.bounds_reached))}" if result.bounds_reached else ""
    )
    if result.problem is not None:
        print_text(f"{result.check.name}: could not be examined: {result.problem}")
    elif result.notes:
        print_text(f"{result.check.name}: {result.check.means}{bound_note}")
    elif bound_note:
        print_text(f"{result.check.name}: nothing found{bound_note}")
    for note in result.notes:
        print_text(f"  {_note_line(note)}")
    if any(note.outcome.is_open for note in result.notes):
        print_text(f"  what helps: {result.check.advice}")


def _note_line(note: "Note") -> str:
    ids = " ".join(f"{name}={value}" for name, value in note.finding.ids.items())
    outcome = f"{note.outcome.value}: {note.result}" if note.result else note.outcome.value
    return f"{ids}: {note.finding.detail} [{outcome}]"


def _summary_line(results: Sequence["Result"]) -> str:
    notes = [note for result in results for note in result.notes]
    open_notes = [note for note in notes if note.outcome.is_open]
    repairable_count = sum(note.finding.is_repairable for note in open_notes)
    failed_count = sum(result.problem is not None for result in results)
    parts = [f"{len(results)} checks, {len(notes)} findings, {len(open_notes)} still open"]
    if open_notes:
        parts.append(f"{repairable_count} of them can be mended with --repair")
    if failed_count:
        parts.append(f"{failed_count} checks could not be made")
    return "; ".join(parts)
