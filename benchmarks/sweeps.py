"""What a look for what is due costs beside 100,000 threads that are not, against 1,000.

Both databases are looked at in turns, round by round; the medians count. The plan is printed, so that
it can be seen that every access to `threads` goes through an index.
"""

from collections.abc import Callable, Iterable
from functools import partial
from statistics import median
from typing import Any

import psycopg

from benchmarks.stage import Figure, seconds, settings_of, show, stack
from store.database.engine import Database

STORED = (1_000, 100_000)
WARM_ROUNDS = 5

Fill = Callable[[Database, int], Any]
Work = Callable[[Database], Any]
#: The lines in which PostgreSQL explains how it looks.
Explain = Callable[[Database], Iterable[str]]


def compare(title: str, *, rounds: int, fill: Fill, look: Work, explain: Explain, undo: Work) -> None:
    """Show what `look` costs; `undo` is called after each, outside of the time."""
    with stack() as few, stack() as many:
        databases = [Database(settings_of(servers)) for servers in (few, many)]
        for database, stored in zip(databases, STORED, strict=True):
            fill(database, stored)
            vacuum(database)
        costs: list[list[float]] = [[], []]
        for number in range(WARM_ROUNDS + rounds):
            for database, column in zip(databases, costs, strict=True):
                cost = seconds(partial(look, database))
                undo(database)
                if number >= WARM_ROUNDS:
                    column.append(1000 * cost)
        print("\n".join(accesses(explain(databases[1]))))
        for database in databases:
            database.close()
    base, found = median(costs[0]), median(costs[1])
    figures = [
        Figure(f"beside {STORED[0]:,} threads", base, "ms"),
        Figure(f"beside {STORED[1]:,} threads", found, "ms", base, at_most=1.5 * base),
    ]
    show(title, figures)


def vacuum(database: Database) -> None:
    """Have PostgreSQL know what it stores, as its own vacuum sees to."""
    with psycopg.connect(database.settings.database_url.get_secret_value(), autocommit=True) as connection:
        connection.execute("vacuum analyze threads")


def accesses(plan: Iterable[str]) -> list[str]:
    """The lines of a plan that read `threads`: none of them reads all of it."""
    found = sorted({line.strip() for line in plan if "Scan" in line and "threads" in line})
    assert found
    assert not any("Seq Scan" in line for line in found), found
    return found
