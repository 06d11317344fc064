"""The cost of a scan for due threads beside 100,000 threads that are not, against 1,000.

Both databases are scanned alternately, round by round; the medians count. The plan is checked: every
access to `threads` goes through an index.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import psycopg

from benchmarks.figures import Figure, Measures, ratio_at_most
from benchmarks.stage import measure_seconds, settings_of, stack
from store.database.engine import Database

STORED_COUNTS = (1_000, 100_000)
WARM_ROUNDS = 5

Fill = Callable[[Database, int], Any]
Operation = Callable[[Database], Any]
#: The lines in which PostgreSQL explains its plan.
Explain = Callable[[Database], Iterable[str]]


def compare(*, rounds: int, fill: Fill, scan: Operation, explain: Explain, undo: Operation) -> Measures:
    """Measure the cost of `scan`; `undo` is called after each, outside of the time."""
    with stack() as few, stack() as many:
        databases = [Database(settings_of(servers)) for servers in (few, many)]
        for database, stored in zip(databases, STORED_COUNTS, strict=True):
            fill(database, stored)
            vacuum(database)
        costs: list[list[float]] = [[], []]
        for number in range(WARM_ROUNDS + rounds):
            for database, column in zip(databases, costs, strict=True):
                cost = measure_seconds(partial(scan, database))
                undo(database)
                if number >= WARM_ROUNDS:
                    column.append(1000 * cost)
        check_accesses(explain(databases[1]))
        for database in databases:
            database.close()
    few_label, many_label = (f"beside {count:,} threads" for count in STORED_COUNTS)
    base = Figure(key="few", label=few_label, rounds=costs[0], unit="ms")
    demand = ratio_at_most(1.5)
    return [base, Figure(key="many", label=many_label, rounds=costs[1], unit="ms", baseline=base, demand=demand)]


def vacuum(database: Database) -> None:
    """Have PostgreSQL know what it stores, as its own vacuum sees to."""
    with psycopg.connect(database.settings.database_url.get_secret_value(), autocommit=True) as connection:
        connection.execute("vacuum analyze threads")


def check_accesses(plan: Iterable[str]) -> None:
    """Check the lines of a plan that read `threads`: none of them reads all of it."""
    lines = sorted({line.strip() for line in plan if "Scan" in line and "threads" in line})
    assert lines
    assert not any("Seq Scan" in line for line in lines), lines
