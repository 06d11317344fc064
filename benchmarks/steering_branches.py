"""Forks and branches of a long thread: what one costs to make, and a turn on the last of fifty nested ones.

A fork is one transaction of the store, as the gateway runs it, at the end of the thread, in its middle and at its
beginning. A turn is sent, claimed, answered and settled, each a transaction of its own, on the branch and on the trunk
by turns; its window is the newest forty messages or so. Processor time is that of this process and of the one
connection's at PostgreSQL; blocks are those that PostgreSQL touches.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import psycopg
from sqlalchemy import text

from benchmarks.figures import Demand, Figure, Measures, at_most, ratio_at_most
from benchmarks.processor_clock import ProcessorClock
from benchmarks.stage import read_wal_position, rounds_within
from benchmarks.stock import stock_threads
from conversation.branch_address import MAIN
from conversation.ids import new_id
from conversation.message import Message, Usage
from conversation.turn import ClaimedTurn, Completed
from store.branches.branches import make_branch
from store.database.engine import Database
from store.settings import Settings
from store.threads.forks import fork_visible_thread
from store.threads.visible_threads import Viewer
from store.turns import claims, inbox, settle, workers
from store.turns.claim_request import ClaimRequest
from store.turns.send_request import UNLIMITED, SendRequest

LENGTH, BRANCHES = 100_000, 50
#: Messages of a window, at most.
WINDOW = 50
AGENT = "assistant"
WARM_ROUNDS = 10
#: Seconds after which no further round begins.
BUDGET_SECONDS = 12
VIEWER = Viewer("default")
#: The trunk, and the thread that is forked.
TRUNK, FORKED = "trunk-0", "forked-0"
BLOCKS = """
    SELECT sum(heap_blks_read + heap_blks_hit + coalesce(idx_blks_read + idx_blks_hit, 0))::bigint
    FROM pg_statio_user_tables
"""


@dataclass
class Column:
    """The rounds of one kind of work."""

    wall_ms: list[float] = field(default_factory=list)
    processor_ms: list[float] = field(default_factory=list)
    wal_kb: list[float] = field(default_factory=list)
    blocks: list[float] = field(default_factory=list)


class Meter:
    """The costs of work on one connection to the database."""

    def __init__(self, database: Database, connection: psycopg.Connection[Any]) -> None:
        self._database = database
        self._connection = connection
        self._clock = ProcessorClock(database)

    def measure(self, column: Column, work: Callable[[], object]) -> None:
        """Do the work, and note what it took."""
        blocks, wal, busy_ms = self._count_blocks(), read_wal_position(self._connection), self._clock.read_ms()
        began = time.perf_counter()
        work()
        column.wall_ms.append(1000 * (time.perf_counter() - began))
        column.processor_ms.append(self._clock.read_ms() - busy_ms)
        column.wal_kb.append((read_wal_position(self._connection) - wal) / 1000)
        column.blocks.append(self._count_blocks() - blocks)

    def _count_blocks(self) -> int:
        # What the connection has counted is written down in between, outside of what is measured.
        with self._database.engine.begin() as own:
            own.exec_driver_sql("SELECT pg_stat_force_next_flush()")
        with self._database.engine.begin() as own:
            return int(own.execute(text(BLOCKS)).scalar_one())


class Desk:
    """The store's verbs on one connection."""

    def __init__(self, database: Database) -> None:
        self._database = database
        worker = new_id()
        database.run(
            workers.register, worker=worker, host="here", pid=1, serves={AGENT: "1"}, lease_duration_seconds=3600
        )
        self._claimant = ClaimRequest(worker=worker, agents={AGENT: "1"}, max_messages={AGENT: WINDOW})

    def fork(self, number: int, at: int) -> None:
        """Fork the long thread behind a seq."""
        assert self._database.run(fork_visible_thread, VIEWER, FORKED, f"fork-{number}-{at}", at=at) is not None

    def turn(self, address: str) -> None:
        """Send to a branch, and answer."""
        message = Message(role="user", content="and then?".ljust(200, "."))
        request = SendRequest(turn_id=new_id(), tenant="default", thread_id=address, message=message, agent=AGENT)
        accepted = self._database.run(inbox.accept, request, UNLIMITED)
        claimed = self._database.run(
            claims.claim, tenant="default", thread_id=accepted.address, claimant=self._claimant, held=None
        )
        assert isinstance(claimed, ClaimedTurn)
        reply = Message(role="assistant", content="this.".ljust(200, "."))
        ending = Completed(messages=(reply,), usage=Usage(3, 4), cost=0.5)
        self._database.run(settle.settle, lease=claimed.lease, turn_id=claimed.id, ending=ending, release=True)

    def branch(self, address: str, branch_id: str) -> str:
        """Make a branch of a branch; returns its address."""
        made = self._database.run(make_branch, VIEWER, address, branch_id=branch_id)
        return f"{TRUNK}/{made.id}"

    def nest(self, count: int, *, turns: int) -> str:
        """Make branches, each of the one before, with so many turns on each; the address of the last one."""
        address = TRUNK
        for number in range(count):
            for _ in range(turns):
                self.turn(address)
            address = self.branch(address, f"{turns}-{number}")
        return address


@contextmanager
def open_desk(settings: Settings) -> Iterator[tuple[Desk, Meter]]:
    """A desk, and the meter of its connection."""
    database = Database(settings)
    with psycopg.connect(settings.database_url.get_secret_value(), autocommit=True) as connection:
        stock_threads(connection, "trunk-", 1, LENGTH)
        stock_threads(connection, "forked-", 1, LENGTH)
        yield Desk(database), Meter(database, connection)
    database.close()


def measure(settings: Settings, *, quick: bool) -> Measures:
    """Measure forks, then turns."""
    with open_desk(settings) as (desk, meter):
        return [
            *measure_forks(desk, meter, WARM_ROUNDS + (2 if quick else 60)),
            *measure_turns(desk, meter, WARM_ROUNDS + (2 if quick else 300)),
        ]


def measure_forks(desk: Desk, meter: Meter, rounds: int) -> list[Figure]:
    """A fork in each round, at one of three places by turns."""
    forks = Column()
    for number in rounds_within(BUDGET_SECONDS, rounds):
        for at in (LENGTH, LENGTH // 2, 3):
            meter.measure(forks if number >= WARM_ROUNDS else Column(), partial(desk.fork, number, at))
    name = f"a fork of a thread of {LENGTH:,} messages"
    return [
        Figure(key="fork", label=name, rounds=forks.wall_ms, unit="ms", demand=at_most(10)),
        Figure(key="fork_cpu", label="... processor time", rounds=forks.processor_ms, unit="ms"),
        Figure(key="fork_wal", label="... write-ahead log", rounds=forks.wal_kb, unit="kB", demand=at_most(10)),
        Figure(key="fork_blocks", label="... blocks read", rounds=forks.blocks, unit=""),
    ]


def measure_turns(desk: Desk, meter: Meter, rounds: int) -> list[Figure]:
    """A turn on the trunk, and the first one on each kind of branch, by turns."""
    # Whoever tries again and again makes branches of branches; or talks on each, so that a window spans many.
    parents = {"nested": desk.nest(BRANCHES - 1, turns=0), "talked": desk.nest(BRANCHES - 1, turns=1)}
    columns = {"trunk": Column(), **{kind: Column() for kind in parents}}
    for number in rounds_within(BUDGET_SECONDS, rounds):
        addresses = {kind: desk.branch(parent, f"{kind}-{number}") for kind, parent in parents.items()}
        for kind, column in columns.items():
            turn = partial(desk.turn, addresses.get(kind, f"{TRUNK}/{MAIN}"))
            meter.measure(column if number >= WARM_ROUNDS else Column(), turn)
    return [line for what in _MEASURED for line in compare(what, columns)]


def compare(what: "Measured", columns: Mapping[str, Column]) -> list[Figure]:
    """The lines of one measure: the branches against the trunk."""
    base = Figure(key=f"trunk_{what.key}", label=what.label, rounds=what.of(columns["trunk"]), unit=what.unit)
    return [
        base,
        *(
            Figure(
                key=f"{kind}_{what.key}",
                label=label,
                rounds=what.of(columns[kind]),
                unit=what.unit,
                baseline=base,
                demand=what.demand,
            )
            for kind, label in _KINDS.items()
        ),
    ]


@dataclass(frozen=True)
class Measured:
    """What is measured of a turn."""

    key: str
    label: str
    unit: str
    of: Callable[[Column], list[float]]
    demand: Demand | None = None


_KINDS = {
    "nested": f"... on the {BRANCHES}th nested branch",
    "talked": f"... on the {BRANCHES}th, with a turn on each before",
}
_MEASURED = (
    Measured("turn", "a turn on the trunk", "ms", lambda column: column.wall_ms),
    Measured(
        "cpu", "processor time of a turn on the trunk", "ms", lambda column: column.processor_ms, ratio_at_most(1.1)
    ),
    Measured("wal", "write-ahead log of a turn on the trunk", "kB", lambda column: column.wal_kb),
    Measured("blocks", "blocks of a turn on the trunk", "", lambda column: column.blocks),
)
