"""`threadmill turns …`: list turns, cancel them, requeue those that failed."""

from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from conversation.turn import TurnState
from threadmill.cli.common_options import DEFAULT_TENANT, AsJson, Tenant, print_json

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

    with _open_producer() as producer:
        records = producer.database.run(
            lambda connection: list_latest(connection, tenant, states=state or list(TurnState), limit=limit)
        )
    if as_json:
        print_json([asdict(record) for record in records])
        return
    for record in records:
        print(f"{record.created_at:%Y-%m-%d %H:%M}  {record.id}  {record.state:<9}  {_record_line(record)}".rstrip())


@group.command()
def requeue(turn_ids: TurnIds, as_json: AsJson = False) -> None:
    """Queue turns again that failed or were cancelled; prints the id to wait for."""
    with _open_producer() as producer:
        for turn_id in turn_ids:
            turn = producer.requeue(turn_id)
            if as_json:
                print_json({"requeued": turn_id, "id": turn.id, "is_new": turn.is_new})
            else:
                print(f"{turn_id} goes on" if not turn.is_new else f"{turn_id} is asked anew as {turn.id}")


@group.command()
def cancel(turn_ids: TurnIds, as_json: AsJson = False) -> None:
    """Ask turns to stop; messages that were written stay. Prints the state of each turn."""
    with _open_producer() as producer:
        for turn_id in turn_ids:
            state = producer.find_turn(turn_id).cancel()
            if as_json:
                print_json({"id": turn_id, "state": state})
            else:
                print(f"{turn_id} {state}")


def _record_line(record: "TurnRecord") -> str:
    words = [record.thread_id, record.agent]
    if record.error is not None:
        words.append(f"{record.error.fault}: {record.error.kind}: {record.error.message}"[:SHOWN_CHARS])
    return "  ".join(words)


def _open_producer() -> "closing[Producer]":
    """Open a producer for the time of one command."""
    from conversation.logs import use_standard_logging
    from producers import Producer

    use_standard_logging()
    return closing(Producer())
