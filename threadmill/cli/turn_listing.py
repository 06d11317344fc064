"""`threadmill turns list`: the turns that wait, run and have ended, by whatever is asked for."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from conversation.turn import TurnState
from threadmill.cli.common_options import DEFAULT_TENANT, AsJson, open_database
from threadmill.cli.moments import MOMENT_HELP, read_length, read_moment, show_seconds
from threadmill.cli.output import print_list, print_note, shorten
from threadmill.cli.turn_words import describe_error

if TYPE_CHECKING:
    from store.turns.listing import ListedTurn, ListedTurnPage, TurnFilter

#: Of the turns that ended, those are listed that did so in this time, if nothing else is asked for.
DEFAULT_SINCE = timedelta(days=1)
#: Characters of a note.
NOTE_CHARS = 120

Since = Annotated[str | None, typer.Option(metavar="TIME", help=f"Turns that ended since then: {MOMENT_HELP}.")]
Until = Annotated[str | None, typer.Option(metavar="TIME", help="Turns that ended before then.")]
AnyTenant = Annotated[str | None, typer.Option(help="Only this tenant's; without it, all tenants'.")]


def list_turns(
    state: Annotated[list[TurnState] | None, typer.Option(help="Only turns in this state.")] = None,
    agent: Annotated[list[str] | None, typer.Option(help="Only turns of this agent.")] = None,
    kind: Annotated[list[str] | None, typer.Option(help="Only turns with an error of this kind.")] = None,
    thread: Annotated[str | None, typer.Option(help="Only turns of this thread, of any age.")] = None,
    user: Annotated[str | None, typer.Option(help="Only turns of this user.")] = None,
    worker: Annotated[str | None, typer.Option(help="Only turns that this worker runs, by its id.")] = None,
    tenant: AnyTenant = None,
    since: Since = None,
    until: Until = None,
    older_than: Annotated[
        str | None, typer.Option(metavar="LENGTH", help="Turns that were sent longer ago: 10m, 2h, 1d.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Turns of one page.")] = 50,
    cursor: Annotated[str | None, typer.Option(help="The cursor of the page before.")] = None,
    as_json: AsJson = False,
) -> None:
    """List turns: those that have not ended, the newest first; then those that ended, the last first.

    Of those that ended, the last 24 hours, unless --since or --thread says otherwise.
    """
    from store.turns.listing import TurnFilter

    filters = TurnFilter(
        tenant=tenant or (DEFAULT_TENANT if thread else None),
        states=state or (),
        agents=agent or (),
        error_kinds=kind or (),
        thread_id=thread,
        user=user,
        worker_id=worker,
        since=read_moment("--since", since) or (None if thread or until else datetime.now(UTC) - DEFAULT_SINCE),
        until=read_moment("--until", until),
        older_than=read_length("--older-than", older_than),
    )
    page, unserved_ids = _read(filters, limit, cursor)
    print_list(
        page,
        columns_of(unserved_ids, with_tenant=filters.tenant is None),
        empty="no turns match",
        as_json=as_json,
        to_json=lambda turn: to_json(turn) | {"is_unserved": turn.record.id in unserved_ids},
    )
    if page.next_cursor:
        print_note(f"more: --cursor {page.next_cursor}")
    if not as_json and since is None and filters.since is not None and _asks_for_ended(state):
        print_note("of turns that ended, those of the last 24 hours: --since 7d shows more")


def _asks_for_ended(states: list[TurnState] | None) -> bool:
    return not states or any(state.is_final for state in states)


def _read(filters: "TurnFilter", limit: int, cursor: str | None) -> "tuple[ListedTurnPage, frozenset[str]]":
    from store.turns.listing import list_turns as list_stored_turns
    from store.turns.unserved import find_unserved

    def read(connection: Any) -> "tuple[ListedTurnPage, frozenset[str]]":
        page = list_stored_turns(connection, filters, limit=limit, cursor=cursor)
        unfinished_ids = [turn.record.id for turn in page if not turn.record.state.is_final]
        return page, find_unserved(connection, unfinished_ids) if unfinished_ids else frozenset()

    with open_database() as (database, _):
        return database.run(read)


def columns_of(
    unserved_ids: frozenset[str] = frozenset(), *, with_tenant: bool
) -> "Mapping[str, Callable[[ListedTurn], object]]":
    """The columns of a table of turns."""
    columns: dict[str, Callable[[ListedTurn], object]] = {
        "TURN": lambda turn: turn.record.id,
        "STATE": lambda turn: turn.record.state,
        "AGE": lambda turn: show_seconds(turn.age_seconds),
        "TOOK": lambda turn: show_seconds(turn.duration_seconds),
        "AGENT": lambda turn: turn.record.agent,
        "TRY": lambda turn: turn.record.attempt,
        "THREAD": lambda turn: turn.record.thread_id,
    }
    if with_tenant:
        columns["TENANT"] = lambda turn: turn.record.tenant
    columns["NOTE"] = lambda turn: _note(turn, is_unserved=turn.record.id in unserved_ids)
    return columns


def _note(turn: "ListedTurn", *, is_unserved: bool) -> str | None:
    """The note of a turn for an operator: its error, who cancelled it, or why it waits."""
    record = turn.record
    if is_unserved:
        return "waits: no living worker serves this agent"
    if record.state is TurnState.CANCELLED and record.cancel_requested_by is not None:
        return f"by {record.cancel_requested_by}"
    error = describe_error(record)
    if error is not None and record.next_try_at is not None:
        error = f"next try {record.next_try_at:%H:%M:%S}Z: {error}"
    return None if error is None else shorten(error, NOTE_CHARS)


def to_json(turn: "ListedTurn") -> dict[str, Any]:
    """A listed turn as one JSON object: its record, and what the listing adds."""
    from dataclasses import asdict

    return {
        **asdict(turn.record),
        "user": turn.user,
        "worker_id": turn.worker_id,
        "age_seconds": turn.age_seconds,
        "duration_seconds": turn.duration_seconds,
    }
