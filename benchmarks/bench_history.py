"""The cost of a send and of a turn on a thread of 5,000 messages, against one of 10.

In this process, without a broker's delay: `send_message` without its wake-up, and a worker that
is handed one. The window of the offline assistant is 101 to 200 messages, so a turn on a long
thread reads that much; the line for 300 messages shows that nothing grows after it. A short
thread is used once: it would not stay short.
"""

import time
from statistics import median

import structlog
from sqlalchemy import text

from agent import registry
from benchmarks.stage import Figure, is_quick, settings_of, show, stack
from conversation.task_contract import WakeUp
from producers import Producer
from producers.turn import Turn
from store.database.engine import Database
from store.settings import Settings
from tasks.worker import Worker

LENGTHS = (10, 300, 5_000)
#: Rounds on one and the same thread: a long one stays long enough.
SHARED = {10: 1, 300: 1, 5_000: 10}
WARM_ROUNDS = 3
STOCK = (
    """
    insert into threads (tenant, id, metadata, created_at, updated_at, last_seq)
    select 'default', :thread || n, '{}', now(), now(), :count from generate_series(0, :last) n
    """,
    """
    insert into messages (thread_key, seq, id, role, content, metadata, created_at)
    select key, n, 'm-' || n, case n % 2 when 1 then 'user' else 'assistant' end,
        rpad('message ' || n, 200, '.'), '{}', now()
    from threads, generate_series(1, :count) n where threads.id like :thread || '%'
    """,
    "analyze",
)


def main() -> None:
    """Measure each length alternately, round by round; show the medians."""
    rounds = 10 if is_quick(__doc__) else 100
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    with stack() as servers:
        settings = settings_of(servers)
        costs = measure(settings, rounds)
    show(
        "A send and a turn on threads of different lengths",
        [
            Figure(f"{name}, thread of {length:,} messages", 1000 * found, "ms", base)
            for name, column in (("send", 0), ("turn", 1))
            for length in LENGTHS
            for found in [median(costs[length][column])]
            for base in [None if length == LENGTHS[0] else 1000 * median(costs[LENGTHS[0]][column])]
        ],
    )


def measure(settings: Settings, rounds: int) -> dict[int, tuple[list[float], list[float]]]:
    """Seconds of each send and each turn, by the length of the thread."""
    producer = Producer(settings)
    for length in LENGTHS:
        stock(producer.database, length, WARM_ROUNDS + rounds)
    worker = Worker(settings, registry.load(settings.agent_modules))
    worker.start()
    costs: dict[int, tuple[list[float], list[float]]] = {length: ([], []) for length in LENGTHS}
    for number in range(1, 1 + WARM_ROUNDS + rounds):
        for length in LENGTHS:
            send, turn = run_round(producer, worker, f"t-{length}-{number // SHARED[length]}")
            if number > WARM_ROUNDS:
                costs[length][0].append(send)
                costs[length][1].append(turn)
    worker.stop()
    producer.close()
    return costs


def run_round(producer: Producer, worker: Worker, thread: str) -> tuple[float, float]:
    """Seconds of a send, and of the turn that answers it."""
    # On the caller's own connection: a send that does not notify.
    started = time.perf_counter()
    with producer.database.engine.begin() as connection:
        turn: Turn = producer.send(thread, "hello", connection=connection)
    sent_at = time.perf_counter()
    worker.run_thread(WakeUp(tenant=turn.tenant, thread_id=turn.thread_id, turn_id=turn.id))
    return sent_at - started, time.perf_counter() - sent_at


def stock(database: Database, length: int, rounds: int) -> None:
    """Threads of so many messages, all of them answered."""
    values = {"thread": f"t-{length}-", "count": length, "last": rounds // SHARED[length]}
    with database.engine.begin() as connection:
        for statement in STOCK:
            connection.execute(text(statement), values)


if __name__ == "__main__":
    main()
