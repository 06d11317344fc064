"""The table at the end of a run, and whether the run was a good one.

What stays true: every number is counted from what is stored or from what was done to the installation.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping

from rich.table import Table

from tests.chaos.recovery import BOUND_SECONDS
from tests.chaos.regrets import NAMES
from tests.chaos.run import Report
from tests.chaos.tickets import CLERK, HAND_OVERS

Line = tuple[str, str]
#: The share of takeovers, in percent, that the bound is asked of.
BOUND_PERCENT = 99


def is_slow(report: Report) -> bool:
    """Whether dead workers' turns waited longer than they may."""
    return report.takeovers.quantile(BOUND_PERCENT) > BOUND_SECONDS


def table(report: Report) -> Table:
    """All figures."""
    shown = Table("what", "how much", title=f"seed {report.plan.seed}, {report.seconds:.0f} s")
    for section in (
        _faults(report),
        _turns(report),
        _policies(report),
        _decisions(report),
        _outside(report),
        _effects(report),
        _recovery(report),
    ):
        for what, how_much in section:
            shown.add_row(what, how_much)
        shown.add_section()
    for promise, count in Counter(finding.promise for finding in report.findings).items():
        shown.add_row(f"broken: {promise}", str(count))
    shown.add_row("broken promises", str(len(report.findings)))
    return shown


def _faults(report: Report) -> Iterator[Line]:
    yield "faults", f"{report.faults.total()} of {len(report.faults)} kinds"
    for kind, count in sorted(report.faults.items()):
        yield f"  {kind}", str(count)


def _turns(report: Report) -> Iterator[Line]:
    turns = report.picture.turns.values()
    yield "threads, messages", f"{len(report.picture.threads)}, {len(report.picture.messages)}"
    for state, count in sorted(Counter(turn["state"] for turn in turns).items()):
        yield f"turns {state}", str(count)
    why = Counter(f"{t['error_kind']}: {t['error_message']}" for t in turns if t["state"] == "failed")
    for reason, count in why.most_common(5):
        yield f"  {reason[:80]}", str(count)
    yield "turns claimed more than once", str(sum(1 for turn in turns if turn["attempt"] > 1))
    yield (
        "claims, put off, crashes",
        ", ".join(str(sum(turn[column] for turn in turns)) for column in ("attempt", "retries", "crashes")),
    )
    yield "sends tried again", ", ".join(f"{count} {why}" for why, count in report.refused.items()) or "0"
    yield "files kept", str(len(report.picture.attachments))


def _policies(report: Report) -> Iterator[Line]:
    """Of each policy, how many messages were sent so, and how the turns ended."""
    turns = report.picture.turns
    for policy in ("enqueue", *sorted({t["when_busy"] for t in turns.values() if t["when_busy"]})):
        ended = Counter(t["state"] for t in turns.values() if (t["when_busy"] or "enqueue") == policy)
        yield f"sent to {policy}", f"{ended.total()}: {_told(ended)}"
    yield "turns rolled back", str(sum(1 for turn in turns.values() if turn["rolled_back"]))
    by = Counter(turn["cancel_requested_by"] for turn in turns.values() if turn["state"] == "cancelled")
    told = Counter(cancelled.state for cancelled in report.sent.cancelled)
    yield "cancels, by what was told", f"{_told(told)}; {sum(by[name] for name in NAMES)} turns cancelled by them"
    yield (
        "threads handed over",
        f"{len(report.sent.handed_over)} by an operator, {_calls(report, HAND_OVERS)} by agents",
    )
    yield "calls of an agent in the same turn", str(_calls(report, [CLERK]))
    yield "turns of other agents, waited for", str(sum(1 for turn in turns.values() if turn["parent_turn_id"]))
    yield "turns that took up a call", str(sum(1 for turn in turns.values() if turn["requeued_from"]))
    made = Counter(thread["branch_origin"] for thread in report.picture.threads if thread["branch_origin"])
    forks = sum(1 for thread in report.picture.threads if thread["lineage"] and not thread["branch_origin"])
    yield "branches, forks", f"{_told(made)}; {forks}; {len(report.sent.given_up)} given up"


def _calls(report: Report, names: Collection[str]) -> int:
    return sum(step["name"] in names for step in report.picture.calls().values())


def _decisions(report: Report) -> Iterator[Line]:
    kinds = Counter((c["kind"], c["decision"] or "open") for c in report.picture.pending_calls)
    for kind in sorted({kind for kind, _ in kinds}):
        decided = {decision: count for (of, decision), count in kinds.items() if of == kind}
        yield f"calls that waited: {kind}", _told(decided)
    yield "decisions", _told(Counter(decided.answer for decided in report.sent.decided))


def _outside(report: Report) -> Iterator[Line]:
    sent = report.sent
    came = Counter(receipt.delivery_id for receipt in sent.receipts)
    kinds = Counter(row["kind"] for row in report.picture.deliveries)
    yield "webhooks told", f"{len(came)} of {kinds.total()}, {len(sent.receipts) - len(came)} repeats"
    yield "  of which", _told(kinds)
    runs = sum(1 for turn in report.picture.turns.values() if turn["schedule_id"])
    yield "runs of schedules", str(runs)


def _told(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {what}" for what, count in sorted(counts.items())) or "none"


def _effects(report: Report) -> Iterator[Line]:
    """Of each tool that writes: calls by what the journal says, effects by what the shop says."""
    once = {effect["tool"]: not effect["repeatable"] for effect in report.picture.effects}
    calls = Counter((step["name"], step["state"]) for step in report.picture.calls().values())
    effects = Counter(effect["tool"] for effect in report.picture.effects)
    for tool in sorted(effects, key=lambda tool: (not once[tool], tool)):
        states = {state: count for (name, state), count in calls.items() if name == tool}
        told = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
        rule = "once" if once[tool] else "repeatable"
        yield f"{tool} ({rule})", f"{sum(states.values())} calls ({told}), {effects[tool]} effects"


def _recovery(report: Report) -> Iterator[Line]:
    takeovers = report.takeovers
    yield "turns taken over from killed workers", str(len(takeovers.seconds))
    quarantined = sum(1 for turn in report.picture.turns.values() if turn["crashes"] > 1)
    yield "turns in quarantine, after two crashes", str(quarantined)
    figures = (takeovers.quantile(50), takeovers.quantile(99), max(takeovers.seconds, default=0.0))
    yield "recovery p50, p99, slowest", ", ".join(f"{seconds:.1f} s" for seconds in figures)
    yield "recovery bound at p99: lease, sweep and 5 s", f"{BOUND_SECONDS:g} s"
