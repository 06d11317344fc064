"""`threadmill turns …`: list turns, cancel them, requeue those that failed."""

from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

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
    from store.turns.unserved import find_unserved

    def read(connection: Any) -> "tuple[list[TurnRecord], frozenset[str]]":
        records = list_latest(connection, tenant, states=state or list(TurnState), limit=limit)
        return records, find_unserved(connection, [record.id for record in records])

    with _open_producer() as producer:
        records, unserved_ids = producer.database.run(read)
    if as_json:
        print_json([{**asdict(record), "is_unserved": record.id in unserved_ids} for record in records])
        return
    for record in records:
        line = _record_line(record, is_unserved=record.id in unserved_ids)
        print(f"{record.created_at:%Y-%m-%d %H:%M}  {record.id}  {record.state:<9}  {line}".rstrip())


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
        for turn_id in turn_ids:
            turn = producer.requeue(turn_id, agent=agent)
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


def _record_line(record: "TurnRecord", *, is_unserved: bool) -> str:
    words = [record.thread_id, record.agent]
    if is_unserved:
        words.append("waits: no living worker serves this agent")
    if record.error is not None:
        words.append(f"{record.error.fault}: {record.error.kind}: {record.error.message}"[:SHOWN_CHARS])
    return "  ".join(words)


def _open_producer() -> "closing[Producer]":
    """Open a producer for the time of one command."""
    from conversation.logs import use_standard_logging
    from producers import Producer

    use_standard_logging()
    return closing(Producer())
