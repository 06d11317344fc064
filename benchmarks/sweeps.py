"""The cost of a scan for due threads beside 100,000 threads that are not, against 1,000.

Both databases are scanned alternately, round by round; the medians count. The plan is printed, so that
it can be seen that every access to `threads` goes through an index.
"""

from collections.abc import Callable, Iterable
from functools import partial
from statistics import median
from typing import Any

import psycopg

from benchmarks.stage import Figure, measure_seconds, settings_of, show, stack
from store.database.engine import Database

STORED_COUNTS = (1_000, 100_000)
WARM_ROUNDS = 5

Fill = Callable[[Database, int], Any]
Operation = Callable[[Database], Any]
#: The lines in which PostgreSQL explains its plan.
Explain = Callable[[Database], Iterable[str]]


def compare(title: str, *, rounds: int, fill: Fill, scan: Operation, explain: Explain, undo: Operation) -> None:
    """Show the cost of `scan`; `undo` is called after each, outside of the time."""
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
        print("\n".join(accesses(explain(databases[1]))))
        for database in databases:
            database.close()
    small_median, large_median = median(costs[0]), median(costs[1])
    figures = [
        Figure(f"beside {STORED_COUNTS[0]:,} threads", small_median, "ms"),
        Figure(f"beside {STORED_COUNTS[1]:,} threads", large_median, "ms", small_median, at_most=1.5 * small_median),
    ]
    show(title, figures)


def vacuum(database: Database) -> None:
    """Have PostgreSQL know what it stores, as its own vacuum sees to."""
    with psycopg.connect(database.settings.database_url.get_secret_value(), autocommit=True) as connection:
        connection.execute("vacuum analyze threads")


def accesses(plan: Iterable[str]) -> list[str]:
    """The lines of a plan that read `threads`: none of them reads all of it."""
    lines = sorted({line.strip() for line in plan if "Scan" in line and "threads" in line})
    assert lines
    assert not any("Seq Scan" in line for line in lines), lines
    return lines
