"""`threadmill turns …`: list, show, follow and cancel turns, requeue those that failed, decide what they wait for."""

from typing import Annotated

import typer

from threadmill.cli import tail, turn_listing, turn_pending, turn_requeue, turn_timeline
from threadmill.cli.common_options import AsJson, TurnTenant, name_tenant, open_producer
from threadmill.cli.output import print_json, print_text
from threadmill.cli.user_name import name_of_user

group = typer.Typer(
    help="List turns, show or follow one, cancel them, requeue those that failed.", no_args_is_help=True
)

TurnIds = Annotated[list[str], typer.Argument(help="The ids of turns.")]


group.command("list")(turn_listing.list_turns)
group.command()(turn_timeline.show)
group.command("tail")(tail.tail_turn)
group.command()(turn_requeue.requeue)
for _command in (turn_pending.pending, turn_pending.approve, turn_pending.deny, turn_pending.answer):
    group.command()(_command)


@group.command()
def cancel(
    turn_ids: TurnIds,
    by: Annotated[
        str | None, typer.Option(help="Who asks, for `turns show`; without it, the user of this machine.")
    ] = None,
    tenant: TurnTenant = None,
    as_json: AsJson = False,
) -> None:
    """Ask turns to stop; messages that were written stay. Prints the state of each turn."""
    requester = name_of_user() if by is None else by
    with open_producer() as producer:
        for turn_id in turn_ids:
            turn = producer.find_turn(turn_id, tenant=tenant)
            state = turn.cancel(by=requester)
            if as_json:
                print_json({"id": turn_id, "tenant": turn.tenant, "state": state})
            else:
                print_text(f"{turn_id} {state}{name_tenant(turn.tenant)}")
