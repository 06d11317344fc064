"""`threadmill workers …`: list the workers, living and dead; see what one does; take one out."""

import time
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from conversation.errors import InvalidInput
from threadmill.cli.common_options import AsJson, open_database
from threadmill.cli.moments import read_length, show_seconds
from threadmill.cli.output import print_json, print_list, print_note, print_record, print_text

if TYPE_CHECKING:
    from store.database.engine import Database
    from store.turns.worker_listing import ListedWorker

group = typer.Typer(help="List workers, see what one does, take one out.", no_args_is_help=True)

#: Seconds between two looks at workers that are waited for.
POLL_SECONDS = 1.0
#: The exit status where the time was over before the workers had ended.
TIME_IS_OVER = 3


@group.command("list")
def list_workers(
    host: Annotated[str | None, typer.Option(help="Only workers of this host.")] = None, as_json: AsJson = False
) -> None:
    """List the workers that live, and those that died within the last hour."""
    from store.turns.worker_listing import list_workers as list_stored_workers

    with open_database() as (database, _):
        found = database.run(list_stored_workers, host=host)
    print_list(
        found, _COLUMNS, empty="no worker is alive, or was within the last hour", as_json=as_json, to_json=_to_json
    )


@group.command()
def show(worker_id: Annotated[str, typer.Argument(help="The worker's id.")], as_json: AsJson = False) -> None:
    """Show one worker, and the turns that it runs."""
    from store.turns.listing import PAGE_MAX, TurnFilter, list_turns
    from store.turns.worker_listing import list_workers as list_stored_workers
    from threadmill.cli import turn_listing

    with open_database() as (database, _):
        found = database.run(list_stored_workers, worker_ids=[worker_id])
        if not found:
            raise InvalidInput("WORKER_ID", f"no worker {worker_id!r} is known", "see `threadmill workers list`")
        running = database.run(list_turns, TurnFilter(worker_id=worker_id), limit=PAGE_MAX)
    if as_json:
        print_json({**_to_json(found[0]), "turns": [turn_listing.to_json(turn) for turn in running]})
        return
    print_record({name.lower(): column(found[0]) for name, column in _COLUMNS.items()}, as_json=False)
    print_text("")
    print_list(running, turn_listing.columns_of(with_tenant=True), empty="it runs no turn", as_json=False)


@group.command()
def drain(
    worker_ids: Annotated[list[str] | None, typer.Argument(help="The ids of workers.")] = None,
    host: Annotated[str | None, typer.Option(help="All workers of this host.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until they have ended.")] = False,
    timeout: Annotated[str | None, typer.Option(metavar="LENGTH", help="With --wait: at most so long.")] = None,
    as_json: AsJson = False,
) -> None:
    """Have workers claim nothing more, and end after their turns, however long these take.

    They hear of it with their next heartbeat, on any host. Exit status 3 where --timeout is over first.
    """
    from store.turns.worker_listing import request_drain

    if bool(worker_ids) == (host is not None):
        raise InvalidInput("WORKER_ID", "and --host are both given, or neither", "name workers, or a host")
    length = read_length("--timeout", timeout)
    with open_database() as (database, _):
        drained = database.run(request_drain, worker_ids=worker_ids or (), host=host)
        print_list(drained, _DRAINED, empty="", as_json=as_json, to_json=_to_json)
        if wait:
            _wait_until_ended(database, drained, None if length is None else length.total_seconds())


def _wait_until_ended(database: "Database", drained: "list[ListedWorker]", seconds: float | None) -> None:
    from store.turns.worker_listing import list_workers as list_stored_workers

    ids = [worker.id for worker in drained]
    give_up_at = float("inf") if seconds is None else time.monotonic() + seconds
    left = ids
    while left:
        living = [worker for worker in database.run(list_stored_workers, worker_ids=ids) if worker.state != "dead"]
        if len(living) < len(left):
            print_note(f"{len(ids) - len(living)} of {len(ids)} ended")
        left = [worker.id for worker in living]
        if left and time.monotonic() >= give_up_at:
            running = sum(worker.running_turns for worker in living)
            print_note(f"{len(left)} did not end in time, and run {running} turns: they end after these")
            raise typer.Exit(TIME_IS_OVER)
        if left:
            time.sleep(POLL_SECONDS)


def _id(worker: "ListedWorker") -> object:
    return worker.id


def _running(worker: "ListedWorker") -> object:
    return worker.running_turns


def _since(worker: "ListedWorker", name: str) -> float | None:
    moment = getattr(worker, name)
    return None if moment is None else (worker.listed_at - moment).total_seconds()


_DRAINED: "dict[str, Callable[[ListedWorker], object]]" = {
    "WORKER": _id,
    "HOST": lambda worker: worker.host,
    "PID": lambda worker: worker.pid,
    "ENDS": lambda worker: f"after its turns: {worker.running_turns}" if worker.running_turns else "now",
}
_COLUMNS: "dict[str, Callable[[ListedWorker], object]]" = {
    "WORKER": _id,
    "STATE": lambda worker: worker.state,
    "HOST": lambda worker: worker.host,
    "PID": lambda worker: worker.pid,
    "UP": lambda worker: show_seconds(_since(worker, "started_at")),
    "BEAT": lambda worker: f"{show_seconds(_since(worker, 'beat_at'))} ago" if worker.beat_at else None,
    "TURNS": _running,
    "QUEUES": lambda worker: "library calls" if worker.is_library else ", ".join(worker.queues),
    "AGENTS": lambda worker: ", ".join(sorted(worker.agents)),
}


def _to_json(worker: "ListedWorker") -> dict[str, Any]:
    return {
        **asdict(worker),
        "state": worker.state,
        "beat_age_seconds": _since(worker, "beat_at"),
        "is_library": worker.is_library,
    }
