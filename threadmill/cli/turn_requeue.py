"""`threadmill turns requeue`: queue turns again, by their ids or all that meet conditions.

What stays true: a turn that cannot be requeued stops none behind it; the exit status says that there was one.
"""

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from conversation.turn import TurnState
from threadmill.cli.common_options import AsJson, TurnTenant, name_tenant, open_producer
from threadmill.cli.moments import MOMENT_HELP, read_moment
from threadmill.cli.output import print_json, print_note, print_problem, print_text

if TYPE_CHECKING:
    from store.turns.bulk_requeue import BulkRequeuedTurn

TurnIds = Annotated[list[str] | None, typer.Argument(help="The ids of turns; none with the options for many.")]
State = Annotated[TurnState | None, typer.Option(help="Turns in this state: failed, or cancelled.")]
Kinds = Annotated[
    list[str] | None, typer.Option("--kind", help="Turns with this kind of error: deadline; unavailable of a model.")
]
Since = Annotated[str | None, typer.Option(help=f"Turns that ended then or later: {MOMENT_HELP}.")]
Until = Annotated[str | None, typer.Option(help="Turns that ended before, written as for --since.")]
AgentName = Annotated[str | None, typer.Option(help="Of many turns, those of this agent. With ids, the same as --by.")]
By = Annotated[
    str | None, typer.Option(help="Have this agent answer; with ids also turns that wait for one that nobody serves.")
]
Limit = Annotated[int | None, typer.Option(min=1, help="Come to so many turns, those first that ended first.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would become of each turn, and change nothing.")]


def requeue(
    turn_ids: TurnIds = None,
    state: State = None,
    kind: Kinds = None,
    since: Since = None,
    until: Until = None,
    agent: AgentName = None,
    by: By = None,
    tenant: TurnTenant = None,
    limit: Limit = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Queue turns again that failed or were cancelled; prints the id to wait for.

    By their ids, or all that meet conditions: `--state failed --since 2h --kind unavailable`.
    """
    many: dict[str, object] = {"--state": state, "--kind": kind, "--since": since, "--until": until}
    many |= {"--limit": limit, "--dry-run": dry_run}
    given = [option for option, value in many.items() if value]
    if turn_ids:
        if given:
            raise typer.BadParameter(f"{given[0]} chooses among many turns; pass it, or ids", param_hint="TURN_IDS")
        _requeue_ids(turn_ids, by or agent, tenant, as_json=as_json)
        return
    if not given and tenant is None:
        raise typer.BadParameter("pass ids, or --state failed for all that failed", param_hint="TURN_IDS")
    from store.turns.bulk_requeue import RequeueFilter

    filters = RequeueFilter(
        state=state or TurnState.FAILED,
        kinds=kind or (),
        agent=agent,
        tenant=tenant,
        since=read_moment("--since", since),
        until=read_moment("--until", until),
    )
    with open_producer() as producer:
        producer.warm_up()
        turns = producer.requeue_turns(filters, by=by, limit=limit, dry_run=dry_run)
        _print_many(turns, as_json=as_json)


def _requeue_ids(turn_ids: list[str], agent: str | None, tenant: str | None, *, as_json: bool) -> None:
    """Queue these turns again. One that cannot be is named, and the next one follows."""
    from conversation.errors import TurnNotFound, TurnNotRequeueable

    problems = 0
    with open_producer() as producer:
        producer.warm_up()
        for turn_id in turn_ids:
            try:
                turn = producer.requeue(turn_id, agent=agent, tenant=tenant)
            except (TurnNotFound, TurnNotRequeueable) as error:
                problems += 1
                print_problem(str(error).replace("turn_id:", "TURN_IDS:", 1))
                continue
            if as_json:
                print_json({"requeued": turn_id, "id": turn.id, "tenant": turn.tenant, "is_new": turn.is_new})
            else:
                became = f"is asked anew as {turn.id}" if turn.is_new else "goes on"
                print_text(f"{turn_id} {became}{name_tenant(turn.tenant)}")
    if problems:
        raise typer.Exit(1)


def _print_many(turns: "Iterable[BulkRequeuedTurn]", *, as_json: bool) -> None:
    """Print each turn as it is done, then how many there were of each result."""
    counts: Counter[str] = Counter()
    try:
        for turn in turns:
            counts[turn.result.value] += 1
            if as_json:
                print_json(turn)
            else:
                print_text(_describe(turn))
    finally:
        # As a note: with --json each line is a turn.
        words = ", ".join(f"{count} {result.replace('_', ' ')}" for result, count in sorted(counts.items()))
        print_note(words or "no turns match")
    if counts["failed"]:
        raise typer.Exit(1)


def _describe(turn: "BulkRequeuedTurn") -> str:
    if turn.reason is not None:
        return f"{turn.id} {turn.result}: {turn.reason}"
    if turn.requeued_as is None:
        return f"{turn.id} would be requeued"
    return f"{turn.id} goes on" if turn.requeued_as == turn.id else f"{turn.id} is asked anew as {turn.requeued_as}"
