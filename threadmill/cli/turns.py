"""`threadmill turns …`: list turns, cancel them, requeue those that failed."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from operator import attrgetter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from conversation.turn import TurnState
from threadmill.cli.common_options import DEFAULT_TENANT, AsJson, Tenant
from threadmill.cli.output import print_json, print_list, print_text, shorten

if TYPE_CHECKING:
    from conversation.turn import TurnRecord
    from producers import Producer

group = typer.Typer(help="List turns, cancel them, requeue those that failed.", no_args_is_help=True)

TurnIds = Annotated[list[str], typer.Argument(help="The ids of turns.")]
#: Characters of an error that a listing shows.
SHOWN_CHARS = 120


@group.command("list")
def list_turns(
    tenant: Tenant = DEFAULT_TENANT,
    state: Annotated[list[TurnState] | None, typer.Option(help="Only turns in this state.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Turns to show.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List turns, the newest first, with their errors."""
    from store.turns.records import list_latest
    from store.turns.unserved import find_unserved

    def read(connection: Any) -> "tuple[list[TurnRecord], frozenset[str]]":
        records = list_latest(connection, tenant, states=state or list(TurnState), limit=limit)
        return records, find_unserved(connection, [record.id for record in records])

    with _open_producer() as producer:
        records, unserved_ids = producer.database.run(read)
    columns = {"CREATED": "created_at", "TURN": "id", "STATE": "state", "THREAD": "thread_id", "AGENT": "agent"}
    getters: dict[str, Callable[[TurnRecord], object]] = {header: attrgetter(name) for header, name in columns.items()}
    print_list(
        records,
        {**getters, "NOTE": lambda record: _note(record, is_unserved=record.id in unserved_ids)},
        empty="no turns match",
        as_json=as_json,
        to_json=lambda record: {**asdict(record), "is_unserved": record.id in unserved_ids},
    )


@group.command()
def requeue(
    turn_ids: TurnIds,
    agent: Annotated[
        str | None, typer.Option(help="Have this agent answer; also turns that wait for one that nobody serves.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Queue turns again that failed or were cancelled; prints the id to wait for."""
    with _open_producer() as producer:
        producer.warm_up()
        for turn_id in turn_ids:
            turn = producer.requeue(turn_id, agent=agent)
            if as_json:
                print_json({"requeued": turn_id, "id": turn.id, "is_new": turn.is_new})
            else:
                print_text(f"{turn_id} goes on" if not turn.is_new else f"{turn_id} is asked anew as {turn.id}")


@group.command()
def cancel(turn_ids: TurnIds, as_json: AsJson = False) -> None:
    """Ask turns to stop; messages that were written stay. Prints the state of each turn."""
    with _open_producer() as producer:
        for turn_id in turn_ids:
            state = producer.find_turn(turn_id).cancel()
            if as_json:
                print_json({"id": turn_id, "state": state})
            else:
                print_text(f"{turn_id} {state}")


def _note(record: "TurnRecord", *, is_unserved: bool) -> str | None:
    """The error of a turn, or why it waits."""
    if record.error is not None:
        return shorten(f"{record.error.fault}: {record.error.kind}: {record.error.message}", SHOWN_CHARS)
    return "waits: no living worker serves this agent" if is_unserved else None


def _open_producer() -> "closing[Producer]":
    """Open a producer for the time of one command."""
    from conversation.logs import use_standard_logging
    from producers import Producer

    use_standard_logging()
    return closing(Producer())
