"""The latency that Threadmill adds: from the call of `send_message` to the commit of the turn's end.

Twelve turns a second, for some seconds, evenly, with a model that takes no time; each on a thread that
has 50 messages. The end is the time that the database has written down; what a viewer hears of it
comes a moment later, and is the second row.
"""

import queue
import threading
import time

import psycopg

from benchmarks.figures import Figure, Measures, at_most, percentile
from benchmarks.stage import settings_of, stack
from benchmarks.stock import stock_threads
from conversation.task_contract import TURNS_QUEUE
from producers import Producer, Turn
from threadmill.embedded.programs import worker

TURNS_PER_SECOND = 12
MESSAGES = 50
WARM_TURNS = 24


def measure(*, quick: bool) -> Measures:
    """Send evenly, and wait in other threads."""
    count = WARM_TURNS + (24 if quick else 360)
    with stack(worker("turns", [TURNS_QUEUE])) as servers:
        settings = settings_of(servers)
        with psycopg.connect(settings.database_url.get_secret_value(), autocommit=True) as connection:
            stock_threads(connection, "t-", count, MESSAGES)
        producer = Producer(settings)
        sent_at, heard_at, turns = send_evenly(producer, count)
        committed = [1000 * (turn.record.finished_at.timestamp() - sent_at[turn.id]) for turn in turns]  # type: ignore[union-attr]
        heard = [1000 * (heard_at[turn.id] - sent_at[turn.id]) for turn in turns]
        producer.close()
    return [
        figure("committed_p50", "sent to committed, p50", percentile(committed, 50), 8),
        figure("committed_p95", "sent to committed, p95", percentile(committed, 95), 15),
        figure("heard_p50", "sent to heard by `turn.wait()`, p50", percentile(heard, 50)),
        figure("heard_p95", "sent to heard by `turn.wait()`, p95", percentile(heard, 95)),
    ]


def figure(key: str, label: str, milliseconds: float, limit: float | None = None) -> Figure:
    demand = None if limit is None else at_most(limit)
    return Figure(key=key, label=label, rounds=[milliseconds], unit="ms", demand=demand)


def send_evenly(producer: Producer, count: int) -> tuple[dict[str, float], dict[str, float], list[Turn]]:
    """When each turn was sent, when its end was heard, and the turns that count."""
    sent_at: dict[str, float] = {}
    heard_at: dict[str, float] = {}
    turns: queue.SimpleQueue[Turn | None] = queue.SimpleQueue()

    def wait_for_ends() -> None:
        while (turn := turns.get()) is not None:
            turn.wait(timeout=60)
            heard_at[turn.id] = time.time()

    waiters = [threading.Thread(target=wait_for_ends) for _ in range(TURNS_PER_SECOND)]
    for waiter in waiters:
        waiter.start()
    counted = []
    started = time.time()
    for number in range(count):
        time.sleep(max(0.0, started + number / TURNS_PER_SECOND - time.time()))
        before = time.time()
        turn = producer.send(f"t-{number}", "hello", allow_unknown_agent=True)
        sent_at[turn.id] = before
        turns.put(turn)
        if number >= WARM_TURNS:
            counted.append(turn)
    for _ in waiters:
        turns.put(None)
    for waiter in waiters:
        waiter.join()
    return sent_at, heard_at, counted
