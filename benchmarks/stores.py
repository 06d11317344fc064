"""A turn of ours against the stores that one would take instead, on conversations of several lengths.

Ours is a message sent, its wake-up published, claimed, answered and committed, durable at each step, in
one process and without a broker's delay. Theirs is what `benchmarks/baselines.py` says: the conversation
loaded and stored, in a process of its own; nothing of it survives a crash in between. All are databases
of one PostgreSQL; each round asks one after the other for one turn. WAL is the median of what the server
wrote meanwhile. No checkpoint is near, so it holds no images of whole pages.
"""

import contextlib
import json
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import psycopg

from benchmarks.figures import Demand, Figure, Measures, Note, ratio_at_most
from benchmarks.machine import BASELINE_PYTHON
from benchmarks.own_turns import OwnTurns
from benchmarks.stage import ROOT, read_wal_position, rounds_within, settings_of, stack
from benchmarks.stock import stock_threads

OTHERS = {
    "narrator": "slide-narrator's store",
    "langgraph": "LangGraph's PostgresSaver",
    "agents": "Agents SDK's SQLAlchemySession",
}
LENGTHS = (10, 100, 1_000, 2_000)
#: A thread this short is used for one turn alone: it would not stay short.
SHORT = 100
WARM_ROUNDS = 2
#: Seconds after which no further round begins.
BUDGET_SECONDS = 45


class Baseline:
    """One of the others, in its own process."""

    def __init__(self, name: str, url: str) -> None:
        command = [str(BASELINE_PYTHON), str(ROOT / "benchmarks" / "baselines.py"), name, url]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def stock(self, thread: str, length: int) -> None:
        self._ask(f"stock {thread} {length}")

    def turn(self, thread: str) -> float:
        return float(self._ask(f"turn {thread}")["seconds"])

    def close(self) -> None:
        self._process.communicate(timeout=30)

    def _ask(self, command: str) -> dict[str, float]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(command, file=self._process.stdin, flush=True)
        answer: dict[str, float] = json.loads(self._process.stdout.readline())
        return answer


def thread_of(length: int, round_number: int) -> str:
    """The thread of a round: a short one is used once."""
    return f"t-{length}-{round_number if length <= SHORT else 0}"


def measure(*, quick: bool) -> Measures:
    """One turn of each, round by round."""
    if not BASELINE_PYTHON.exists():
        return [Note("not measured: `make .venv/.bench` installs the others")]
    rounds, lengths = (1, LENGTHS[:2]) if quick else (15, LENGTHS)
    seconds: dict[tuple[str, int], list[float]] = defaultdict(list)
    wal_kb: dict[tuple[str, int], list[float]] = defaultdict(list)
    with stack() as servers, contextlib.ExitStack() as entered:
        url = servers.addresses().database_url
        connection = entered.enter_context(psycopg.connect(url, autocommit=True))
        stores: dict[str, Any] = dict(entered.enter_context(open_others(connection, url)))
        stores["own"] = entered.enter_context(OwnTurns(settings_of(servers)))
        for length in lengths:
            stock(connection, stores, length, WARM_ROUNDS + rounds)
        for number in rounds_within(BUDGET_SECONDS, WARM_ROUNDS + rounds):
            for length in lengths:
                for name, store in stores.items():
                    wal_before = read_wal_position(connection)
                    took = store.turn(thread_of(length, number))
                    if number >= WARM_ROUNDS:
                        seconds[name, length].append(1000 * took)
                        wal_kb[name, length].append((read_wal_position(connection) - wal_before) / 1000)
    times = [line for length in lengths for line in compare("ms", "a turn", seconds, length)]
    return times + [line for length in lengths for line in compare("kB", "WAL of a turn", wal_kb, length)]


@contextlib.contextmanager
def open_others(connection: psycopg.Connection[Any], url: str) -> Iterator[dict[str, Baseline]]:
    """The others, each on a database of its own."""
    for name in OTHERS:
        connection.execute(f"create database {name}")
    others = {name: Baseline(name, f"{url.rpartition('/')[0]}/{name}") for name in OTHERS}
    try:
        yield others
    finally:
        for other in others.values():
            other.close()


def stock(connection: psycopg.Connection[Any], stores: dict[str, Any], length: int, rounds: int) -> None:
    """Conversations of so many messages, in each store."""
    threads = {thread_of(length, number) for number in range(rounds)}
    stock_threads(connection, f"t-{length}-", len(threads), length)
    for thread in threads:
        for name in OTHERS:
            stores[name].stock(thread, length)


def compare(unit: str, what: str, values: dict[tuple[str, int], list[float]], length: int) -> list[Figure]:
    """The lines of one length: theirs, and ours against each of them."""
    name_of_unit = unit.lower()
    lines = []
    for name, title in OTHERS.items():
        theirs = Figure(
            key=f"{name}_{length}_{name_of_unit}",
            label=f"{what}, {length:,} messages: {title}",
            rounds=values[name, length],
            unit=unit,
        )
        ours = Figure(
            key=f"own_{name}_{length}_{name_of_unit}",
            label="... Threadmill, against it",
            rounds=values["own", length],
            unit=unit,
            baseline=theirs,
            demand=demand_of(name, length, unit),
        )
        lines += [theirs, ours]
    return lines


def demand_of(name: str, length: int, unit: str) -> Demand | None:
    """A twentieth of slide-narrator's time and WAL at 1,000 messages; never slower than the others."""
    if name == "narrator":
        return ratio_at_most(0.05) if length == 1_000 else None
    return ratio_at_most(1) if unit == "ms" else None
