"""What operators and users ask of a database of a million threads, two million messages, against one of 1,000.

Through `ThreadStore` where it has a word for it; the sweep besides 20,000 turns that nobody came for, or as
many as there are threads. The median of some calls each, the first ones left out: what is read is in memory.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

import psycopg

from benchmarks.bulk_load import COMMON_WORD, RARE_WORD, load_threads, load_waiting_turns
from benchmarks.figures import Demand, Figure, Measures, at_most
from benchmarks.own_turns import OwnTurns
from benchmarks.stage import measure_seconds, rounds_within, settings_of, stack
from conversation.turn import TurnState
from store.database.engine import Database
from store.settings import Settings
from store.thread_store import ThreadStore
from store.turns import listing, sweep
from store.turns.unserved import count_unserved

FEW, MANY, MANY_QUICK = 1_000, 1_000_000, 20_000
WAITING = 20_000
WARM_CALLS = 2
#: Seconds of one question after which it is not asked again.
BUDGET_SECONDS = 10
STORED = "select sum(pg_total_relation_size(c))::float8 from unnest('{threads,messages,turns}'::regclass[]) c"
#: Have those wait again that a sweep notified, and touch no other row: dead ones would slow the next.
AGAIN = """
    update turns set notified_at = now() - interval '1 min'
    where state = 'queued' and notified_at > now() - interval '50 s'
"""
QUESTIONS: dict[str, tuple[str, Demand | None]] = {
    "status": ("`threadmill status`", at_most(50)),
    "failed": ("the newest failed turns", at_most(10)),
    "common_word": ("search of a common word", at_most(200)),
    "rare_word": ("search of a rare word", None),
    "list": ("the 50 threads that changed last", None),
    "turn": ("a turn, sent and answered", None),
    "sweep": ("the sweep, up to 20,000 turns waiting", at_most(20)),
}


def measure(*, quick: bool) -> Measures:
    """Ask both databases, one after the other."""
    many, calls = (MANY_QUICK, 3) if quick else (MANY, 9)
    few_costs, _ = ask(FEW, calls)
    many_costs, stored_kb = ask(many, calls)
    lines: list[Figure] = []
    for key, (label, demand) in QUESTIONS.items():
        base = Figure(key=f"few_{key}", label=f"{label}, beside {FEW:,}", rounds=few_costs[key], unit="ms")
        large = f"{label}, beside {many:,}"
        lines += [base, Figure(key=key, label=large, rounds=many_costs[key], unit="ms", baseline=base, demand=demand)]
    return [
        *lines,
        Figure(key="stored", label="stored of a thread of one turn, indexes included", rounds=[stored_kb], unit="kB"),
    ]


def ask(threads: int, calls: int) -> tuple[dict[str, list[float]], float]:
    """Milliseconds of each question beside so many threads, and the kilobytes that each takes."""
    with ExitStack() as entered:
        servers = entered.enter_context(stack())
        settings = settings_of(servers)
        connection = entered.enter_context(psycopg.connect(servers.addresses().database_url, autocommit=True))
        connection.execute("set synchronous_commit = off")
        load_threads(connection, threads)
        row = connection.execute(STORED).fetchone()
        assert row is not None
        with OwnTurns(settings) as own:
            turns = [1000 * own.turn(f"new-{number}") for number in range(10 * calls)]
        costs = {**asyncio.run(ask_store(settings, calls)), "turn": turns[WARM_CALLS:]}
        load_waiting_turns(connection, min(WAITING, threads))
        return {**costs, "sweep": time_sweeps(settings, connection, calls)}, float(row[0]) / 1000 / threads


async def ask_store(settings: Settings, calls: int) -> dict[str, list[float]]:
    """Milliseconds of what is asked of a store."""
    async with await ThreadStore.create(settings.database_url.get_secret_value()) as store:
        run = store.database.run_async
        failed = partial(
            listing.list_turns, filters=listing.TurnFilter(tenant="default", states=[TurnState.FAILED]), limit=20
        )

        async def read_status() -> None:
            await store.stats()
            await run(count_unserved, tenant="default")

        questions: dict[str, Callable[[], Awaitable[Any]]] = {
            "status": read_status,
            "failed": lambda: run(failed),
            "common_word": lambda: store.search_messages(COMMON_WORD),
            "rare_word": lambda: store.search_messages(RARE_WORD),
            "list": lambda: store.list_threads(limit=50, order="updated"),
        }
        return {key: await time_calls(question, calls) for key, question in questions.items()}


async def time_calls(question: Callable[[], Awaitable[Any]], calls: int) -> list[float]:
    clock = asyncio.get_running_loop().time
    milliseconds = []
    for _ in rounds_within(BUDGET_SECONDS, WARM_CALLS + calls):
        started = clock()
        await question()
        milliseconds.append(1000 * (clock() - started))
    return milliseconds[WARM_CALLS:] or milliseconds


def time_sweeps(settings: Settings, connection: psycopg.Connection[Any], calls: int) -> list[float]:
    """Milliseconds of the sweep, which has as much to do each time."""
    database = Database(settings)
    milliseconds = []
    for _ in rounds_within(BUDGET_SECONDS, WARM_CALLS + calls):
        pick = partial(sweep.pick_wake_ups_alone, database, grace_seconds=10, limit=500)
        milliseconds.append(1000 * measure_seconds(pick))
        connection.execute(AGAIN)
    database.close()
    return milliseconds[WARM_CALLS:] or milliseconds
