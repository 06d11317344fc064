"""`threadmill turns show`: what happened to one turn, when, for how long, and what it cost."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from conversation.branch_address import MAIN
from conversation.message import Usage
from conversation.when_busy import WhenBusy
from threadmill.cli.common_options import AsJson, TurnTenant, open_database
from threadmill.cli.moments import show_dollars, show_seconds
from threadmill.cli.output import print_json, print_list, print_record, print_text, shorten, show_text
from threadmill.cli.turn_listing import to_json
from threadmill.cli.turn_words import advise, describe

if TYPE_CHECKING:
    from store.turns.timeline import Timeline, TimelineEntry

#: Characters of an error in a line of the timeline: the head has all of it.
ERROR_CHARS = 100


def show(
    turn_id: Annotated[str, typer.Argument(help="The turn's id.")],
    tenant: TurnTenant = None,
    text: Annotated[bool, typer.Option("--text", help="With what was said: messages, arguments, results.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what happened to a turn: attempts, waits, model calls and tools; how long, how much, by whom.

    No text of a message is shown without --text.
    """
    from store.turns.timeline import read_timeline

    with open_database() as (database, settings):
        limit = settings.tenant_max_running_turns.count
        timeline = database.run(read_timeline, turn_id, tenant=tenant, with_text=text, tenant_max_running=limit)
    if as_json:
        print_json(_to_json(timeline))
        return
    print_record({name: value for name, value in _head_of(timeline) if value not in (None, "")}, as_json=False)
    print_text("")
    print_list(timeline.entries, _COLUMNS, empty="nothing has happened", as_json=False)
    if text:
        _print_texts(timeline)


def _head_of(timeline: "Timeline") -> Iterator[tuple[str, object]]:
    record = timeline.turn.record
    usage, cost = _spent(timeline)
    yield "turn", record.id
    yield "is", describe(record, timeline.wait)
    yield "do", advise(record, timeline.wait)
    yield "thread", record.thread_id
    yield "branch", None if record.branch == MAIN else record.branch
    yield "tenant", record.tenant
    yield "user", timeline.turn.user
    yield "agent", record.agent if record.agent_version is None else f"{record.agent} ({record.agent_version})"
    yield "sent", record.created_at
    yield "not before", timeline.not_before
    yield "deadline", timeline.deadline
    yield "took", show_seconds(timeline.turn.duration_seconds)
    yield "worker", timeline.worker if timeline.worker is None else f"{timeline.worker} ({timeline.turn.worker_id})"
    yield "attempts", record.attempt
    yield "crashes", record.crashes or None
    yield "schedule", record.schedule_id
    yield "requeued from", record.requeued_from
    yield "when busy", None if record.when_busy is WhenBusy.ENQUEUE else record.when_busy.value
    yield "answered by", record.merged_into
    yield "interrupted by", record.interrupted_by
    yield "out of view", "what it asked and said" if record.rolled_back else None
    yield "tokens", _show_tokens(usage)
    yield "cost", show_dollars(cost) if usage is not None and usage.total_tokens else None


def _spent(timeline: "Timeline") -> tuple[Usage | None, float | None]:
    """Tokens and costs of a turn: the sum of its calls while it has not ended."""
    record = timeline.turn.record
    if record.state.is_final:
        return record.usage, record.cost
    calls = [entry for entry in timeline.entries if entry.kind == "model" and entry.usage is not None]
    usage = sum((call.usage for call in calls if call.usage is not None), Usage())
    costs = [call.cost for call in calls if call.cost is not None]
    return usage if calls else None, sum(costs) if calls and len(costs) == len(calls) else None


def _show_tokens(usage: Usage | None) -> str | None:
    if usage is None or not usage.total_tokens:
        return None
    cached = f" ({usage.cached_tokens} cached)" if usage.cached_tokens else ""
    about = "about " if usage.is_estimate else ""
    return f"{about}{usage.prompt_tokens}{cached} + {usage.completion_tokens}"


def _describe_entry(entry: "TimelineEntry") -> str:
    """The details of one line."""
    by = {"cancel": f"asked for by {entry.name or 'somebody who gave no name'}"}
    by["asked"] = entry.name
    by["decided"] = f"by {entry.name}" if entry.name else ""
    by["sent"] = f"by {entry.name}" if entry.name else ""
    words = [by.get(entry.kind.value, ""), entry.outcome if entry.kind != "ended" else ""]
    if entry.worker is not None:
        words.append(f"on {entry.worker}")
    if entry.kind != "ended":
        words += [f"{tokens} tokens" if (tokens := _show_tokens(entry.usage)) else "", show_dollars(entry.cost)]
    if entry.error is not None:
        words.append(shorten(f"{entry.error.fault}: {entry.error.kind}: {entry.error.message}", ERROR_CHARS))
    return ", ".join(filter(None, words))


def _name_entry(entry: "TimelineEntry") -> str:
    match entry.kind.value:
        case "attempt" | "model" | "tool":
            whose = "" if entry.agent is None else f"{entry.agent}: "
            return f"{whose}{entry.kind} {entry.name}".strip()
        case "ended":
            return entry.outcome
        case _:
            return entry.kind


_COLUMNS: "dict[str, Callable[[TimelineEntry], object]]" = {
    "TIME": lambda entry: f"{entry.at:%Y-%m-%d %H:%M:%S}.{entry.at.microsecond // 1000:03}",
    "WHAT": _name_entry,
    "TOOK": lambda entry: show_seconds(entry.seconds),
    "HOW": _describe_entry,
}


def _print_texts(timeline: "Timeline") -> None:
    for entry in timeline.entries:
        if entry.text is not None:
            lines = show_text(entry.text).splitlines() or [""]
            print_text("\n".join(["", f"{_name_entry(entry)}:", *(f"    {line}" for line in lines)]))


def _to_json(timeline: "Timeline") -> dict[str, Any]:
    usage, cost = _spent(timeline)
    record = replace(timeline.turn.record, usage=usage, cost=cost)
    return {
        **to_json(replace(timeline.turn, record=record)),
        "is": describe(record, timeline.wait),
        "do": advise(record, timeline.wait),
        "wait": timeline.wait,
        "worker": timeline.worker,
        "not_before": timeline.not_before,
        "deadline": timeline.deadline,
        "entries": [asdict(entry) for entry in timeline.entries],
    }
