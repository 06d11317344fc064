"""`threadmill usage`: what turns used and cost, by tenant, user, agent, model or day."""

from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from threadmill.cli.common_options import AsJson, open_database
from threadmill.cli.moments import MOMENT_HELP, read_moment, show_dollars, show_seconds
from threadmill.cli.output import print_list, print_note
from threadmill.cli.turn_listing import AnyTenant

if TYPE_CHECKING:
    from store.turns.usage import UsageSum

KEYS = ("tenant", "user", "agent", "model", "day")


def usage(
    tenant: AnyTenant = None,
    user: Annotated[str | None, typer.Option(help="Only this user's.")] = None,
    agent: Annotated[str | None, typer.Option(help="Only this agent's.")] = None,
    since: Annotated[str, typer.Option(metavar="TIME", help=f"What ended since then: {MOMENT_HELP}.")] = "today",
    until: Annotated[str | None, typer.Option(metavar="TIME", help="What ended before then.")] = None,
    by: Annotated[list[str] | None, typer.Option(help=f"One sum for each {', '.join(KEYS)}.")] = None,
    as_json: AsJson = False,
) -> None:
    """Sum tokens and costs of the turns that ended, and of summaries; the most expensive first.

    Without --by, one sum. A turn counts with all of its attempts when it ends; what was deleted since, does not.
    """
    from store.turns.usage import UsageFilter, UsageKey, sum_usage

    for key in by or ():
        if key not in KEYS:
            raise typer.BadParameter(f"is {key!r}; use {', '.join(KEYS)}", param_hint="--by")
    since_moment = read_moment("--since", since)
    assert since_moment is not None
    filters = UsageFilter(
        since=since_moment, until=read_moment("--until", until), tenant=tenant, user=user, agent=agent
    )
    with open_database() as (database, _):
        sums = database.run(sum_usage, filters, [UsageKey(key) for key in by or ()])
    # One sum of nothing is a row of zeros.
    found = [each for each in sums if each.count]
    print_list(found, _columns(by or []), empty="nothing ended in that time", as_json=as_json, to_json=_to_json)
    unpriced = sum(each.unpriced for each in found)
    if unpriced and not as_json:
        print_note(f"{unpriced} of them used tokens of a model without a price, which no cost counts")


def _columns(by: list[str]) -> "dict[str, Callable[[UsageSum], object]]":
    columns: dict[str, Callable[[UsageSum], object]] = {
        key.upper(): lambda each, key=key: each.keys[key]  # type: ignore[misc]  # a default that binds
        for key in dict.fromkeys(by)
    }
    columns["CALLS" if "model" in by else "TURNS"] = lambda each: each.count
    return columns | {
        "FAILED": lambda each: each.failed,
        "PROMPT": lambda each: each.prompt_tokens,
        "CACHED": lambda each: each.cached_tokens,
        "REPLY": lambda each: each.completion_tokens,
        "COST": lambda each: show_dollars(each.cost),
        "MEAN": lambda each: show_seconds(each.mean_seconds),
    }


def _to_json(each: "UsageSum") -> dict[str, Any]:
    columns = asdict(each)
    return {**columns.pop("keys"), **columns}
