"""Messages sent in a second, against the least that a durable message costs: one row, one commit.

Both on the same PostgreSQL, which writes to disk before it answers, and from this one process; the
ring to the broker is part of a send. With several threads, Python's lock is shared as well. Rounds
in turns; the best of each.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import psycopg

from benchmarks.stage import Figure, is_quick, seconds, settings_of, show, stack
from producers import Producer
from store.settings import Settings

THREADS = 8


def main() -> None:
    """One thread, then eight; baseline and sends in turns."""
    count, rounds = (100, 1) if is_quick(__doc__) else (500, 3)
    with stack() as servers:
        settings = settings_of(servers).model_copy(update={"db_pool_size": THREADS})
        producer = Producer(settings)
        alone = best(rates(settings, producer, threads=1, count=count) for _ in range(rounds))
        together = best(rates(settings, producer, threads=THREADS, count=count) for _ in range(rounds))
        producer.close()
    show(
        "Sending",
        [
            Figure("one row, one commit; 1 thread", alone[0], "/s"),
            Figure("send_message; 1 thread", alone[1], "/s", alone[0]),
            Figure(f"one row, one commit; {THREADS} threads", together[0], "/s"),
            Figure(f"send_message; {THREADS} threads", together[1], "/s", together[0]),
        ],
    )


def best(pairs: Iterable[tuple[float, float]]) -> tuple[float, float]:
    """The highest of each column."""
    rows, messages = zip(*pairs, strict=True)
    return max(rows), max(messages)


def rates(settings: Settings, producer: Producer, *, threads: int, count: int) -> tuple[float, float]:
    """Rows and messages in a second."""
    url = settings.database_url.get_secret_value()
    connections = [psycopg.connect(url, autocommit=True, prepare_threshold=0) for _ in range(threads)]
    connections[0].execute("create table if not exists bench (id bigserial primary key, said text)")

    def one_row(number: int) -> None:
        with connections[number % threads].transaction():
            connections[number % threads].execute("insert into bench (said) values ('hello')")

    def one_message(number: int) -> None:
        producer.send(f"t-{number % 100}", "hello", allow_unknown_agent=True)

    found = []
    for work in (one_row, one_message):
        crowd(work, threads, THREADS * 10)
        found.append(count / seconds(lambda work=work: crowd(work, threads, count)))
    for connection in connections:
        connection.close()
    return found[0], found[1]


def crowd(work: Callable[[int], None], threads: int, count: int) -> None:
    """Thread n does the numbers n, n + threads, ..."""

    def part(first: int) -> None:
        for number in range(first, count, threads):
            work(number)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(part, range(threads)))


if __name__ == "__main__":
    main()
