"""One run: load and faults at the same time, then quiet, then the verdict and its table.

What stays true: the seed decides what is sent, which faults come in which order, and whom they hit; how
the machine interleaves them is its own affair, so a seed repeats the plan and not the run.
"""

import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles

from store.files import open_file_store
from tests.chaos import checker
from tests.chaos.checker import Finding, Picture
from tests.chaos.faults import Faults
from tests.chaos.load import Load
from tests.chaos.site import LEASE_SECONDS, SWEEP_SECONDS, Site
from tests.chaos.tickets import plan

#: Seconds beyond lease and sweep in which a dead worker's turn is claimed again.
RECOVERY_MARGIN_SECONDS = 5.0
RECOVERY_BOUND_SECONDS = LEASE_SECONDS + SWEEP_SECONDS + RECOVERY_MARGIN_SECONDS
#: Seconds after the last fault in which everything has to be answered.
QUIET_SECONDS = 300.0

Tell = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much of everything."""

    seed: int
    turns: int
    threads: int
    faults: int
    #: The load is spread over so long; faults come one after the other for as long as they take.
    seconds: float


@dataclass(kw_only=True)
class Report:
    """What a run came to."""

    plan: Plan
    findings: list[Finding] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    recoveries: list[float] = field(default_factory=list)
    states: Counter[str] = field(default_factory=Counter)
    #: Tool calls by tool and by what the journal says of them.
    calls: Counter[tuple[str, str]] = field(default_factory=Counter)
    effects: Counter[str] = field(default_factory=Counter)
    attempts: int = 0
    crashes: int = 0
    refused: int = 0
    seconds: float = 0

    @property
    def slow_recoveries(self) -> float:
        """The 99th percentile of recovery, in seconds; 0 where nobody had to be taken over."""
        if len(self.recoveries) < 2:
            return max(self.recoveries, default=0.0)
        return quantiles(self.recoveries, n=100, method="inclusive")[98]


def run(wanted: Plan, folder: Path, tell: Tell) -> Report:
    """Run it, and leave nothing running."""
    randomness = random.Random(wanted.seed)
    report, began = Report(plan=wanted), time.monotonic()
    tickets = plan(wanted.turns, wanted.threads, randomness)
    with Site(folder) as site:
        tell("the installation is up")
        load = Load(site.producer, tickets, wanted.turns / wanted.seconds)
        load.start()
        _break_things(Faults(site, randomness), wanted, load, report, tell)
        _wait_for_quiet(site, load, len(tickets), tell)
        picture = checker.read(site.postgres.url)
        blobs = open_file_store(site.settings)
        report.findings += checker.check(picture, dict(load.accepted), blobs.get)
        blobs.close()
        examined = site.doctor()
        if examined.returncode != 0:
            report.findings.append(Finding("the doctor finds nothing", "", examined.stdout + examined.stderr))
        report.refused = load.refused
    _count(report, picture)
    report.seconds = time.monotonic() - began
    return report


def _break_things(faults: Faults, wanted: Plan, load: Load, report: Report, tell: Tell) -> None:
    order = _order(list(faults.kinds()), wanted.faults, faults.randomness)
    pause = wanted.seconds / (wanted.faults + 1)
    began = time.monotonic()
    for number, kind in enumerate(order, start=1):
        due = began + pause * number
        time.sleep(max(0.0, due - time.monotonic()))
        tell(f"fault {number} of {len(order)}: {kind}; {len(load.accepted)} messages accepted")
        faults.kinds()[kind]()
        report.faults[kind] += 1
    report.recoveries = faults.recoveries


def _order(kinds: Sequence[str], count: int, randomness: random.Random) -> list[str]:
    """Every kind as often as every other, in a random order; workers are killed twice as often."""
    bag = [*kinds, "worker killed"]
    order: list[str] = []
    while len(order) < count:
        order += randomness.sample(bag, k=len(bag))
    return order[:count]


def _wait_for_quiet(site: Site, load: Load, expected: int, tell: Tell) -> None:
    give_up_at = time.monotonic() + QUIET_SECONDS
    said = -1
    while time.monotonic() < give_up_at:
        if load.broken:
            raise load.broken[0]
        (row,) = site.query(
            "SELECT count(*) FILTER (WHERE state IN ('queued', 'running', 'waiting')) AS unfinished, "
            "(SELECT count(*) FROM threads WHERE owner IS NOT NULL) AS held FROM turns"
        )
        if load.is_over and row["unfinished"] == row["held"] == 0:
            return
        if row["unfinished"] // 20 != said:
            said = row["unfinished"] // 20
            tell(f"{len(load.accepted)} of {expected} accepted, {row['unfinished']} unfinished")
        time.sleep(0.5)


def _count(report: Report, picture: Picture) -> None:
    report.states.update(turn["state"] for turn in picture.turns.values())
    report.attempts = sum(turn["attempt"] for turn in picture.turns.values())
    report.crashes = sum(turn["crashes"] for turn in picture.turns.values())
    report.calls.update((step["name"], step["state"]) for step in picture.steps if step["kind"] == "tool")
    report.effects.update(effect["tool"] for effect in picture.effects)
