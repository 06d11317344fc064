"""A small simulation of a thousand and of ten thousand turns a second, fitted with what was measured.

    .venv/bin/python -m benchmarks.scaling

A turn passes stations: the backend's send, the broker, the worker, and for each of send, claim and settle
the database's processors and the flush of its log. Each station is a queue of so many servers; a flush
takes all commits that wait with it. Costs come out of the results of `make bench`; what is assumed stands
in `Assumptions`. What stays true: chance is seeded, so that equal results give equal tables.
"""

import heapq
import json
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import count

from benchmarks.figures import percentile, render_number
from benchmarks.measured import find_figures
from store.settings import Settings

RATES = (100, 1_000, 10_000)
#: Turns that a run lets pass; the first tenth is not counted.
TURNS = 8_000
#: Transactions, each with an id and a flush of its own: send, claim, settle.
COMMITS = 3
SECONDS_A_DAY = 86_400


@dataclass(frozen=True, slots=True)
class Assumptions:
    """What was not measured here."""

    #: How busy a fleet is made to be.
    load: float = 0.7
    #: Processors of the largest database server that one rents without a second thought.
    database_cores: int = 64
    #: Megabytes that one log writes in a second, replicated.
    log_mb_per_second: float = 200
    #: Turns of a worker process that wait for their models at once, and seconds that a model takes.
    waiting_turns: int = 1_000
    model_seconds: float = 5
    #: Connections of a worker's process, its heartbeat included, and of a backend's.
    worker_connections: int = 9
    backend_connections: int = 5
    #: Transactions between two vacuums that keep ids from running out: PostgreSQL's own default.
    freeze_transactions: int = 200_000_000
    #: Wake-ups that one sweep publishes, and seconds between two: the settings' own defaults.
    sweep_batch: int = Settings.model_fields["sweep_batch"].default
    sweep_seconds: float = Settings.model_fields["sweep_interval_seconds"].default


@dataclass(frozen=True, slots=True)
class Costs:
    """What one turn costs, in milliseconds of a processor but for the last ones."""

    send: float
    worker: float
    database: float
    broker: float
    #: Milliseconds of a flush of the log, alone.
    flush: float
    wal_kb: float
    stored_kb: float
    #: Seconds of a vacuum for each million messages.
    vacuum_seconds: float


def load_costs() -> Costs:
    """The costs as they were measured. Raises `LookupError`."""

    def value(name: str) -> float:
        return float(find_figures(name)[0]["value"])

    return Costs(
        send=1000 / value("send.one_thread"),
        worker=value("turns.turns_cpu"),
        database=value("turns.database_cpu"),
        broker=value("turns.broker_cpu"),
        flush=1000 / value("send.row_one_thread"),
        wal_kb=value("turns.wal"),
        stored_kb=value("million.stored"),
        # Two million messages of the threads, and those of the long ones.
        vacuum_seconds=value("partitions.plain_vacuum") / 2.1,
    )


@dataclass(frozen=True, slots=True)
class Fleet:
    """How many of each: processes of backends and workers, processors of the database, brokers."""

    backends: int
    workers: int
    database_cores: int
    brokers: int

    @classmethod
    def sized_for(cls, rate: int, costs: Costs, assumed: Assumptions) -> "Fleet":
        """A fleet that is busy as assumed, and in which as many turns wait as have to."""

        def servers(milliseconds: float) -> int:
            return max(1, math.ceil(rate * milliseconds / 1000 / assumed.load))

        waiting = math.ceil(rate * assumed.model_seconds / assumed.waiting_turns)
        return cls(
            servers(costs.send), max(servers(costs.worker), waiting), servers(costs.database), servers(costs.broker)
        )

    def count_connections(self, assumed: Assumptions) -> int:
        """The connections to the database, or to its pooler."""
        return self.workers * assumed.worker_connections + self.backends * assumed.backend_connections


@dataclass(slots=True)
class Station:
    """A queue of so many servers, each serving one turn at a time."""

    servers: int
    milliseconds: float
    busy: int = 0
    waiting: list[Callable[[], None]] = field(default_factory=list)


class Run:
    """One run: turns arrive at random, and pass the stations."""

    def __init__(self, rate: int, costs: Costs, fleet: Fleet) -> None:
        self._random = random.Random(rate)
        self._rate = rate
        self._flush_ms = costs.flush
        self._now = 0.0
        self._order = count()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._flush_waiting: list[Callable[[], None]] = []
        self._is_flushing = False
        database = Station(fleet.database_cores, costs.database / COMMITS)
        # The model's time is left out, and with it how long the worker waits: its halves are two visits.
        worker = Station(fleet.workers, costs.worker / 2)
        self._path: list[Station | None] = [
            *(Station(fleet.backends, costs.send), database, None),
            Station(fleet.brokers, costs.broker),
            *(worker, database, None, worker, database, None),
        ]

    def latencies(self) -> list[float]:
        """The milliseconds from each turn's arrival to its commit."""
        latencies: list[float] = []
        arrival = 0.0
        for _ in range(TURNS):
            arrival += self._random.expovariate(self._rate) * 1000
            self._schedule(arrival, self._enter(arrival, latencies))
        while self._events:
            self._now, _, action = heapq.heappop(self._events)
            action()
        return latencies[TURNS // 10 :]

    def _schedule(self, at: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._events, (at, next(self._order), action))

    def _enter(self, arrival: float, latencies: list[float]) -> Callable[[], None]:
        stations = iter(self._path)

        def advance() -> None:
            for station in stations:
                if station is None:
                    self._commit(advance)
                else:
                    self._visit(station, advance)
                return
            latencies.append(self._now - arrival)

        return advance

    def _visit(self, station: Station, then: Callable[[], None]) -> None:
        if station.busy == station.servers:
            station.waiting.append(then)
            return
        station.busy += 1
        self._serve(station, then)

    def _serve(self, station: Station, then: Callable[[], None]) -> None:
        def leave() -> None:
            if station.waiting:
                self._serve(station, station.waiting.pop(0))
            else:
                station.busy -= 1
            then()

        self._schedule(self._now + self._random.expovariate(1 / station.milliseconds), leave)

    def _commit(self, then: Callable[[], None]) -> None:
        """Wait for the next flush: it takes all that wait when it begins."""
        self._flush_waiting.append(then)
        if not self._is_flushing:
            self._flush()

    def _flush(self) -> None:
        batch, self._flush_waiting = self._flush_waiting, []
        self._is_flushing = bool(batch)

        def end() -> None:
            self._flush()
            for then in batch:
                then()

        if batch:
            self._schedule(self._now + self._flush_ms, end)


@cache
def render(what: str) -> str:
    """One of the tables of the page, as Markdown."""
    costs, assumed = load_costs(), Assumptions()
    rows = list({"runs": _run_rows, "limits": _limit_rows, "growth": _growth_rows}[what](costs, assumed))
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join(["", lines[0], f"|{'---|' * len(rows[0])}", *lines[1:], ""])


def _run_rows(costs: Costs, assumed: Assumptions) -> Iterator[list[str]]:
    heads = ("turns a second", "backends", "workers", "PostgreSQL", "brokers", "p50", "p99")
    yield list(heads)
    for rate in RATES:
        fleet = Fleet.sized_for(rate, costs, assumed)
        latencies = Run(rate, costs, fleet).latencies()
        times = [f"{render_number(percentile(latencies, percent))} ms" for percent in (50, 99)]
        yield [
            f"{rate:,}",
            *(f"{number:,}" for number in (fleet.backends, fleet.workers)),
            f"{fleet.database_cores:,} core{'s' if fleet.database_cores > 1 else ''}",
            f"{fleet.brokers}",
            *times,
        ]


def _limit_rows(costs: Costs, assumed: Assumptions) -> Iterator[list[str]]:
    yield ["one of it", "costs a turn", "bears, turns a second"]
    cores = assumed.database_cores
    for name, cost, rate in (
        ("a backend's process", f"{render_number(costs.send)} ms", 1000 / costs.send),
        ("a worker's process", f"{render_number(costs.worker)} ms", 1000 / costs.worker),
        (f"a database of {cores} cores", f"{render_number(costs.database)} ms", cores * 1000 / costs.database),
        ("its write-ahead log", f"{render_number(costs.wal_kb)} kB", assumed.log_mb_per_second * 1000 / costs.wal_kb),
        ("a broker, of one thread", f"{render_number(costs.broker)} ms", 1000 / costs.broker),
        ("the sweep, if each wake-up is lost", "", assumed.sweep_batch / assumed.sweep_seconds),
    ):
        yield [name, cost, f"{_round_to_two(rate):,}"]


def _growth_rows(costs: Costs, assumed: Assumptions) -> Iterator[list[str]]:
    yield ["", *(f"{rate:,} a second" for rate in RATES)]
    fleets = {rate: Fleet.sized_for(rate, costs, assumed) for rate in RATES}
    lines: dict[str, Callable[[int], str]] = {
        "write-ahead log": lambda rate: f"{render_number(rate * costs.wal_kb / 1000)} MB/s",
        "... of a day": lambda rate: f"{render_number(rate * costs.wal_kb * SECONDS_A_DAY / 1e6)} GB",
        "turns stored of a day": lambda rate: f"{rate * SECONDS_A_DAY / 1e6:,.0f} million",
        "... with their messages and indexes": lambda rate: (
            f"{render_number(rate * costs.stored_kb * SECONDS_A_DAY / 1e6)} GB"
        ),
        "a vacuum of 30 days' messages, their indexes gone through whole": lambda rate: (
            f"{render_number(costs.vacuum_seconds * 2 * rate * SECONDS_A_DAY * 30 / 1e6 / 3600)} h"
        ),
        "a vacuum of every table against wraparound is due each": lambda rate: (
            f"{render_number(assumed.freeze_transactions / rate / COMMITS / 3600)} h"
        ),
        "a minute without the broker is caught up with after": lambda rate: (
            f"{render_number(60 * rate * assumed.sweep_seconds / assumed.sweep_batch)} s"
        ),
        "connections of workers and backends": lambda rate: f"{fleets[rate].count_connections(assumed):,}",
    }
    for name, line in lines.items():
        yield [name, *(line(rate) for rate in RATES)]


def _round_to_two(value: float) -> int:
    """A whole number of two digits that are not zero: more would promise what was not measured."""
    digits = max(0, math.floor(math.log10(value)) - 1)
    return int(round(value / 10**digits) * 10**digits)


def main() -> None:
    """Print the costs and the tables."""
    print(json.dumps({name: getattr(load_costs(), name) for name in Costs.__slots__}, indent=1))
    print(*map(render, ("limits", "runs", "growth")), sep="\n")


if __name__ == "__main__":
    main()
