"""`threadmill turns pending`, `approve`, `deny`, `answer`: what turns wait for, and decisions on it.

What stays true: a decision is printed with the arguments that it lets run, and is made under the name of who asks.
"""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from threadmill.cli.common_options import AsJson, Tenant, TurnTenant, name_tenant, open_database, open_producer
from threadmill.cli.output import print_json, print_list, print_text, shorten, show_cell
from threadmill.cli.user_name import name_of_user

if TYPE_CHECKING:
    from conversation.pending_call import PendingCall
    from producers import Turn

#: Characters of a call's arguments, or of a question, in a list.
SHOWN_CHARS = 80

TurnId = Annotated[str, typer.Argument(help="The id of the turn.")]
CallId = Annotated[str, typer.Argument(help="The call's name in its turn, as `turns pending` shows it.")]
By = Annotated[str | None, typer.Option(help="Who decides; without it, the user of this machine.")]
Digest = Annotated[str | None, typer.Option(help="Decide only if the call's digest is still this one.")]


def pending(
    tenant: Tenant = "default",
    user: Annotated[str | None, typer.Option(help="Only of turns in which this user asks.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Calls to list, at most.")] = 100,
    as_json: AsJson = False,
) -> None:
    """List what turns wait for, the oldest first: approvals, questions, tools that the client runs."""
    from conversation.events import pending_json
    from store.turns.pending_listing import list_pending

    with open_database() as (database, _):
        calls = database.acting_for(tenant).run(list_pending, tenant, user=user, limit=limit)
    columns: dict[str, Callable[[PendingCall], object]] = {
        "ASKED": lambda call: call.requested_at,
        "KIND": lambda call: call.kind.value,
        "TURN": lambda call: call.turn_id,
        "CALL": lambda call: call.call_id,
        "TOOL": lambda call: call.name,
        "EXPIRES": lambda call: call.expires_at,
        "WHAT": lambda call: shorten(call.question or call.arguments, SHOWN_CHARS),
    }
    print_list(calls, columns, empty="no turn waits for a decision", as_json=as_json, to_json=pending_json)


def approve(
    turn_id: TurnId,
    call_id: CallId,
    arguments: Annotated[
        str | None, typer.Option(help="Arguments in place of the model's: a JSON object of all of them.")
    ] = None,
    digest: Digest = None,
    by: By = None,
    tenant: TurnTenant = None,
    as_json: AsJson = False,
) -> None:
    """Let a call run, as it was shown or with other arguments."""
    edited = None if arguments is None else _read_json("--arguments", arguments)

    def decide(turn: "Turn", name: str) -> "PendingCall":
        if edited is not None:
            return turn.edit(call_id, edited, by=name, digest=digest)
        return turn.approve(call_id, by=name, digest=digest)

    _decide(turn_id, tenant, by, decide, as_json=as_json)


def deny(
    turn_id: TurnId,
    call_id: CallId,
    reason: Annotated[str | None, typer.Option(help="Why: the model reads it.")] = None,
    by: By = None,
    tenant: TurnTenant = None,
    as_json: AsJson = False,
) -> None:
    """Have a call not run, or a question not answered."""
    _decide(turn_id, tenant, by, lambda turn, name: turn.deny(call_id, reason, by=name), as_json=as_json)


def answer(
    turn_id: TurnId,
    call_id: CallId,
    value: Annotated[str, typer.Argument(help="The answer; with --json-value, as JSON.")],
    is_json: Annotated[
        bool, typer.Option("--json-value", help="Read the answer as JSON: a number, true, a list.")
    ] = False,
    is_result: Annotated[
        bool, typer.Option("--result", help="It is the result of a tool that the client runs.")
    ] = False,
    by: By = None,
    tenant: TurnTenant = None,
    as_json: AsJson = False,
) -> None:
    """Answer a question, or give the result of a client's tool."""
    plain = _read_json("VALUE", value) if is_json else value

    def decide(turn: "Turn", name: str) -> "PendingCall":
        return turn.give_result(call_id, plain, by=name) if is_result else turn.answer(call_id, plain, by=name)

    _decide(turn_id, tenant, by, decide, as_json=as_json)


def _decide(
    turn_id: str, tenant: str | None, by: str | None, decide: "Callable[[Turn, str], PendingCall]", *, as_json: bool
) -> None:
    from conversation.events import pending_json

    with open_producer() as producer:
        turn = producer.find_turn(turn_id, tenant=tenant)
        call = decide(turn, by or name_of_user())
        state = turn.state
    if as_json:
        print_json(pending_json(call) | {"tenant": turn.tenant, "state": state})
        return
    decision = "" if call.decision is None else call.decision.kind.value
    words = (show_cell(call.call_id), decision, f"{call.name} {shorten(call.arguments, SHOWN_CHARS)}")
    print_text(f"{' '.join(words)}; the turn is {state}{name_tenant(turn.tenant)}")


def _read_json(option: str, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise typer.BadParameter(f"is no JSON ({error})", param_hint=option) from None
