"""Messages sent in a second, against the least that a durable message costs: one row, one commit.

Both on the same PostgreSQL, which writes to disk before it answers, and from this one process; the
wake-up to the broker is part of a send. With several threads, Python's lock is shared as well. Rounds
alternate; the best of each.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import psycopg

from benchmarks.stage import Figure, is_quick, measure_seconds, settings_of, show, stack
from producers import Producer
from store.settings import Settings

THREADS = 8


def main() -> None:
    """Measure one thread, then eight; baseline and sends alternate."""
    count, rounds = (100, 1) if is_quick(__doc__) else (500, 3)
    with stack() as servers:
        settings = settings_of(servers).model_copy(update={"db_pool_size": THREADS})
        producer = Producer(settings)
        single_rates = best_of_columns(measure_rates(settings, producer, threads=1, count=count) for _ in range(rounds))
        parallel_rates = best_of_columns(
            measure_rates(settings, producer, threads=THREADS, count=count) for _ in range(rounds)
        )
        producer.close()
    show(
        "Sending",
        [
            Figure("one row, one commit; 1 thread", single_rates[0], "/s"),
            Figure("send_message; 1 thread", single_rates[1], "/s", single_rates[0]),
            Figure(f"one row, one commit; {THREADS} threads", parallel_rates[0], "/s"),
            Figure(f"send_message; {THREADS} threads", parallel_rates[1], "/s", parallel_rates[0]),
        ],
    )


def best_of_columns(pairs: Iterable[tuple[float, float]]) -> tuple[float, float]:
    """The highest of each column."""
    rows, messages = zip(*pairs, strict=True)
    return max(rows), max(messages)


def measure_rates(settings: Settings, producer: Producer, *, threads: int, count: int) -> tuple[float, float]:
    """Measure rows and messages in a second."""
    url = settings.database_url.get_secret_value()
    connections = [psycopg.connect(url, autocommit=True, prepare_threshold=0) for _ in range(threads)]
    connections[0].execute("create table if not exists bench (id bigserial primary key, said text)")

    def insert_row(number: int) -> None:
        with connections[number % threads].transaction():
            connections[number % threads].execute("insert into bench (said) values ('hello')")

    def send_one(number: int) -> None:
        producer.send(f"t-{number % 100}", "hello", allow_unknown_agent=True)

    results = []
    for work in (insert_row, send_one):
        run_in_threads(work, threads, THREADS * 10)
        results.append(count / measure_seconds(lambda work=work: run_in_threads(work, threads, count)))
    for connection in connections:
        connection.close()
    return results[0], results[1]


def run_in_threads(work: Callable[[int], None], threads: int, count: int) -> None:
    """Call `work` for each number: thread n does n, n + threads, ..."""

    def run_share(first: int) -> None:
        for number in range(first, count, threads):
            work(number)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(run_share, range(threads)))


if __name__ == "__main__":
    main()
