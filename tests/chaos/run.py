"""One run: load and faults at the same time, then quiet, then the verdict.

What stays true: the seed decides what is sent, which faults come in which order, and whom they hit; how
the machine interleaves them is its own affair, so a seed repeats the plan and not the run.
"""

import os
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from store.blobs import open_file_store
from tests.chaos import checker, faults, picture, reception, shown
from tests.chaos.display import Counts, Display
from tests.chaos.faults import KINDS, Fault, Faults
from tests.chaos.finding import Finding, Promise
from tests.chaos.load import Load
from tests.chaos.office import Office
from tests.chaos.picture import Picture
from tests.chaos.receiver import Receiver
from tests.chaos.reception import HandOver, Reception
from tests.chaos.recovery import Takeovers
from tests.chaos.regrets import Regrets
from tests.chaos.sent import Sent
from tests.chaos.site import Site
from tests.chaos.tickets import Ticket, plan
from tests.chaos.timetable import Timetable

#: Seconds after the last fault in which the senders come to their end: they go at the plan's pace.
SENDING_SECONDS = 600.0
#: Seconds after that in which everything has to be answered.
QUIET_SECONDS = 300.0
UNFINISHED = ("queued", "running", "waiting")
#: Runs of a schedule that somebody starts by hand.
RUNS_BY_HAND = 5


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much of everything."""

    seed: int
    turns: int
    threads: int
    faults: int
    #: The load is spread over so long; faults come one after the other for as long as they take.
    seconds: float
    kinds: Sequence[str] = tuple(KINDS)

    @property
    def totals(self) -> Counts:
        return {"accepted": self.turns, "answered": self.turns, "faults": self.faults}


@dataclass(kw_only=True)
class Report:
    """What a run came to."""

    plan: Plan
    picture: Picture
    findings: list[Finding]
    takeovers: Takeovers
    faults: Counter[str] = field(default_factory=Counter)
    sent: Sent
    #: Sends that were not accepted, by why, or whose answer was lost: each was tried again.
    refused: Counter[str] = field(default_factory=Counter)
    seconds: float = 0


@dataclass(frozen=True, slots=True)
class People:
    """All who ask something of the installation."""

    load: Load
    regrets: Regrets
    reception: Reception
    office: Office
    timetable: Timetable

    @classmethod
    def of(cls, site: Site, wanted: Plan, tickets: Sequence[Ticket], hand_overs: Sequence[HandOver]) -> "People":
        producer, gateway, per_second = site.producer, site.gateway, wanted.turns / wanted.seconds
        regrets = Regrets(producer, gateway)
        return cls(
            load=Load(producer, gateway, tickets, regrets, per_second=per_second),
            regrets=regrets,
            reception=Reception(producer, hand_overs, per_second),
            office=Office(producer, gateway, {ticket.ref: ticket.fates for ticket in tickets}),
            timetable=Timetable(producer),
        )

    def start(self) -> None:
        self.timetable.create()
        for one in (self.load, self.reception, self.office):
            one.start()

    @property
    def is_idle(self) -> bool:
        """Whether nobody is about to decide or to cancel anything."""
        return self.office.is_idle and self.regrets.is_idle

    def sent(self, receiver: Receiver) -> Sent:
        """What they asked, and were told."""
        return Sent(
            accepted=self.load.accepted,
            given_up=frozenset(self.load.given_up),
            decided=self.office.decided,
            cancelled=self.regrets.cancelled,
            handed_over=self.reception.handed_over,
            receipts=receiver.receipts,
            forged=receiver.forged,
            schedules=self.timetable.ids,
            by_hand=self.timetable.by_hand,
        )


def run(wanted: Plan, folder: Path, display: Display) -> Report:
    """Run it, and leave nothing running."""
    began = time.monotonic()
    randomness = random.Random(wanted.seed)
    tickets = plan(wanted.turns, wanted.threads, randomness)
    order = faults.plan(wanted.kinds, wanted.faults, randomness)
    hand_overs = reception.plan(wanted.turns, sorted({ticket.thread for ticket in tickets}), randomness)
    injected: Counter[str] = Counter()
    with Site(folder) as site:
        display.tell("the installation is up")
        people = People.of(site, wanted, tickets, hand_overs)
        display.watch(lambda: _counts(site, people.load, injected))
        people.start()
        takeovers = Takeovers(site)
        ended = _break_things(Faults(site, takeovers), order, wanted.seconds, injected, display)
        _wait_for_quiet(site, people, display)
        ended += site.revived("after the last fault")
        pids = site.processes
        report = _verdict(site, people.sent(site.receiver), wanted, takeovers)
    report.findings += [Finding(Promise.ALIVE, name, when) for name, when in ended]
    report.findings += [
        Finding(Promise.STOPPED, name, f"process {pid} runs on") for name, pid in pids.items() if _lives(pid)
    ]
    report.faults, report.refused = injected, people.load.refused
    report.seconds = time.monotonic() - began
    return report


def _break_things(
    broken: Faults, order: Sequence[Fault], seconds: float, injected: Counter[str], display: Display
) -> list[tuple[str, str]]:
    """Inject one after the other; which programs were found dead before one, though nobody killed them."""
    ended: list[tuple[str, str]] = []
    pause = seconds / (len(order) + 1)
    began = time.monotonic()
    for number, fault in enumerate(order, start=1):
        time.sleep(max(0.0, began + pause * number - time.monotonic()))
        ended += broken.site.revived(f"before fault {number}")
        display.tell(f"fault {number} of {len(order)}: {fault.kind}")
        broken.inject(fault)
        injected[fault.kind] += 1
    return ended


def _wait_for_quiet(site: Site, people: People, display: Display) -> None:
    """Return when everything is answered, told and let go, or when it has had its time: the checker sees it."""
    display.tell("no further faults: what is accepted has to be answered now")
    people.load.join(SENDING_SECONDS)
    people.reception.join(SENDING_SECONDS)
    for number in range(RUNS_BY_HAND):
        # Each key twice: it is one run.
        people.timetable.run_by_hand(f"by-hand-{number // 2}")
    people.timetable.pause()
    give_up_at = time.monotonic() + QUIET_SECONDS
    while time.monotonic() < give_up_at and not (people.is_idle and _is_quiet(site)):
        time.sleep(0.5)
    people.regrets.close()
    people.office.close()


def _is_quiet(site: Site) -> bool:
    (row,) = site.query(
        "SELECT (SELECT count(*) FROM turns WHERE state = ANY(%s)) AS unfinished, "
        "(SELECT count(*) FROM threads WHERE lease_owner IS NOT NULL) AS held, "
        "(SELECT count(*) FROM webhook_deliveries WHERE state = 'pending') AS untold",
        list(UNFINISHED),
    )
    return not any(row.values())


def _counts(site: Site, load: Load, injected: Counter[str]) -> Counts:
    (row,) = site.query("SELECT count(*) AS n FROM turns WHERE NOT state = ANY(%s)", list(UNFINISHED))
    return {"accepted": len(load.accepted), "answered": row["n"], "faults": injected.total()}


def _verdict(site: Site, sent: Sent, wanted: Plan, takeovers: Takeovers) -> Report:
    views, handles = shown.read_views(site.producer), shown.read_handles(site.producer, sent.accepted)
    seen = picture.read(site.postgres.url, views=views, handles=handles)
    blobs = open_file_store(site.settings)
    findings = checker.check(seen, sent, blobs.get)
    blobs.close()
    if len(sent.accepted) + len(sent.given_up) != wanted.turns:
        told = f"{len(sent.accepted)} of {wanted.turns} messages were accepted"
        findings.append(Finding(Promise.DURABLE, "the senders", told))
    examined = site.doctor()
    if examined.returncode != 0:
        findings.append(Finding(Promise.DOCTOR, "", examined.stdout + examined.stderr))
    return Report(plan=wanted, picture=seen, sent=sent, findings=findings, takeovers=takeovers)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
