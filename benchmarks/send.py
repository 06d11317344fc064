"""Messages sent in a second, against the least that a durable message costs: one row, one commit.

Both on the same PostgreSQL, which writes to disk before it answers, and from this one process; the
wake-up to the broker is part of a send. The row is inserted by a prepared statement. With several
threads, Python's lock is shared as well. Behind PgBouncer, in transaction mode and without prepared
statements, both go through it.
"""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg

from benchmarks.figures import Demand, Figure, Measures, Note, ratio_at_least
from benchmarks.pgbouncer import find_pgbouncer, running_pgbouncer
from benchmarks.stage import measure_seconds, rounds_within, run_in_threads, settings_of, stack
from producers import Producer
from store.settings import Settings

THREADS = 8
#: Seconds of each comparison after which no further round begins.
BUDGET_SECONDS = 20
TABLE = "create table if not exists bench (id bigserial primary key, said text)"
INSERT = "insert into bench (said) values (%s)"


def measure(*, quick: bool) -> Measures:
    """Measure one thread, eight, and PgBouncer; rows and sends alternate."""
    count, rounds = (100, 1) if quick else (800, 5)
    with stack() as servers, tempfile.TemporaryDirectory() as folder, ExitStack() as pooler:
        settings = settings_of(servers, db_pool_size=THREADS)
        lines = [
            *figures("one_thread", "1 thread", compare(settings, 1, count, rounds), ratio_at_least(0.35)),
            *figures(
                "eight_threads", f"{THREADS} threads", compare(settings, THREADS, count, rounds), ratio_at_least(0.2)
            ),
        ]
        if find_pgbouncer() is None:
            return [*lines, Note("not measured behind PgBouncer: it is not installed (Debian: apt install pgbouncer)")]
        url = pooler.enter_context(running_pgbouncer(servers.addresses().database_url, Path(folder)))
        behind = settings.model_copy(update={"database_url": type(settings.database_url)(url)})
        results = compare(behind, 1, count, rounds, prepare_threshold=None)
        return [*lines, *figures("pgbouncer", "1 thread, behind PgBouncer", results, ratio_at_least(0.25))]


def figures(key: str, label: str, rates: tuple[list[float], list[float]], demand: Demand) -> list[Figure]:
    row = Figure(key=f"row_{key}", label=f"one row, one commit; {label}", rounds=rates[0], unit="/s")
    name = f"send_message; {label}"
    return [row, Figure(key=key, label=name, rounds=rates[1], unit="/s", baseline=row, demand=demand)]


def compare(
    settings: Settings, threads: int, count: int, rounds: int, *, prepare_threshold: int | None = 0
) -> tuple[list[float], list[float]]:
    """Measure rows, and messages, in a second, round by round."""
    with open_rows(settings, threads, prepare_threshold) as insert_row, open_sends(settings) as send_one:
        columns: tuple[list[float], list[float]] = ([], [])
        for work in (insert_row, send_one):
            run_in_threads(work, threads, threads * 20)
        for _ in rounds_within(BUDGET_SECONDS, rounds):
            for column, work in zip(columns, (insert_row, send_one), strict=True):
                column.append(count / measure_seconds(lambda work=work: run_in_threads(work, threads, count)))
    return columns


@contextmanager
def open_rows(settings: Settings, threads: int, prepare_threshold: int | None) -> Iterator[Callable[[int], object]]:
    """What inserts a row and commits it, on a connection of each thread."""
    url = settings.database_url.get_secret_value()
    with ExitStack() as entered:
        connections = [
            entered.enter_context(psycopg.connect(url, autocommit=True, prepare_threshold=prepare_threshold))
            for _ in range(threads)
        ]
        connections[0].execute(TABLE)
        yield lambda number: connections[number % threads].execute(INSERT, ("hello",))


@contextmanager
def open_sends(settings: Settings) -> Iterator[Callable[[int], object]]:
    """What sends a message, to one of a hundred threads."""
    producer = Producer(settings)
    yield lambda number: producer.send(f"t-{number % 100}", "hello", allow_unknown_agent=True)
    producer.close()
