"""What operators and users ask of a database of a million threads, two million messages.

Through the store's own functions, on a server that holds nothing else; the sweep besides 20,000 turns
that nobody came for. The median of some calls each, the first ones left out: what is read is in memory.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import psycopg

from benchmarks.bulk_load import COMMON_WORD, RARE_WORD, load_threads, load_waiting_turns
from benchmarks.figures import Demand, Figure, Measures, at_most
from benchmarks.stage import measure_seconds, rounds_within, settings_of, stack
from conversation.turn import TurnState
from store.database.engine import Database
from store.threads import listing, search
from store.turns import records, sweep
from store.turns.unserved import count_unserved

WAITING = 20_000
WARM_CALLS = 2
#: Seconds of one question after which it is not asked again.
BUDGET_SECONDS = 10
STORED = "select sum(pg_total_relation_size(c))::float8 from unnest('{threads,messages,turns}'::regclass[]) c"
AGAIN = "update turns set notified_at = now() - interval '1 min' where state = 'queued'"


def measure(*, quick: bool) -> Measures:
    """Load, and ask."""
    threads, calls = (20_000, 3) if quick else (1_000_000, 9)
    with stack() as servers, psycopg.connect(servers.addresses().database_url, autocommit=True) as connection:
        connection.execute("set synchronous_commit = off")
        load_threads(connection, threads)
        stored_kb = connection.execute(STORED).fetchone()[0] / 1000 / threads  # type: ignore[index]
        database = Database(settings_of(servers))
        questions = list(answer_all(database, calls))
        load_waiting_turns(connection, min(WAITING, threads // 2))

        def sweep_again() -> float:
            seconds = measure_seconds(partial(database.run, sweep.pick_wake_ups, grace_seconds=10, limit=500))
            connection.execute(AGAIN)
            return seconds

        swept = figure("sweep", f"the sweep beside {WAITING:,} waiting turns", sweep_again, calls, at_most(20))
        database.close()
    label = "stored of a thread of one turn, indexes included"
    return [*questions, swept, Figure(key="stored", label=label, rounds=[stored_kb], unit="kB")]


def answer_all(database: Database, calls: int) -> Measures:
    """What is asked, and how long it may take."""
    questions: tuple[tuple[str, str, Callable[..., Any], Demand | None], ...] = (
        ("status", "`threadmill status`", read_status, at_most(50)),
        (
            "failed",
            "the newest failed turns",
            partial(records.list_latest, tenant="default", states=[TurnState.FAILED], limit=20),
            at_most(10),
        ),
        ("common_word", "search of a common word", partial(search.search_messages, query=COMMON_WORD), at_most(200)),
        ("rare_word", "search of a rare word", partial(search.search_messages, query=RARE_WORD), None),
        (
            "list",
            "the 50 threads that changed last",
            partial(listing.list_threads, filters=listing.ThreadFilter(), limit=50, order="updated"),
            None,
        ),
    )
    return [
        figure(key, label, partial(measure_seconds, partial(database.run, question)), calls, demand)
        for key, label, question, demand in questions
    ]


def read_status(connection: Any) -> None:
    """What `threadmill status` reads of threads, messages and turns."""
    listing.stats(connection)
    count_unserved(connection, "default")


def figure(key: str, label: str, measure_once: Callable[[], float], calls: int, demand: Demand | None) -> Figure:
    seconds = [measure_once() for _ in rounds_within(BUDGET_SECONDS, WARM_CALLS + calls)]
    seconds = seconds[WARM_CALLS:] or seconds
    return Figure(key=key, label=label, rounds=[1000 * value for value in seconds], unit="ms", demand=demand)
