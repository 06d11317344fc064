"""Turns in a second, end to end on one worker process, against bare no-op Celery tasks.

From the first publish to the last end, published by eight threads of this process. The turns have
the offline model, and each is a thread of its own: sent, published, claimed, answered, committed. Both
workers have the same pool and the same broker; Celery's own work is in both figures. Rounds
alternate; the best of each. Publishers, worker and database share the machine's cores, so the processor
time says more about the worker than the rate does.
"""

import time

from redis import Redis
from sqlalchemy import Connection, func, select

from benchmarks import noop
from benchmarks.bench_send import THREADS, best_of_columns, run_in_threads
from benchmarks.stage import Figure, is_quick, processor_seconds, settings_of, show, stack
from conversation.task_contract import TURNS_QUEUE
from producers import Producer
from store.tables import turns
from store.tables.turns import unfinished
from threadmill.embedded.process import POLL_SECONDS
from threadmill.embedded.programs import worker
from threadmill.embedded.stack import Stack


def main() -> None:
    """Tasks, then turns; the other worker is idle meanwhile."""
    count, rounds = (100, 1) if is_quick(__doc__) else (500, 3)
    programs = (worker("turns", [TURNS_QUEUE]), worker("noop", [noop.QUEUE], app="benchmarks.noop"))
    total = count * rounds
    with stack(*programs) as servers:
        pids = [servers.pid("noop"), servers.pid("turns")]
        start_seconds = [processor_seconds(pid) for pid in pids]
        rates = best_of_columns((measure_no_ops(servers, count), measure_turns(servers, count)) for _ in range(rounds))
        used_seconds = [processor_seconds(pid) - spent for pid, spent in zip(pids, start_seconds, strict=True)]
    show(
        "Turns of one worker process",
        [
            Figure("bare no-op Celery tasks", rates[0], "/s"),
            Figure("turns with the offline model", rates[1], "/s", rates[0]),
            Figure("processor time of the worker, each task", 1000 * used_seconds[0] / total, "ms"),
            Figure("... each turn", 1000 * used_seconds[1] / total, "ms", 1000 * used_seconds[0] / total),
        ],
    )


def measure_no_ops(servers: Stack, count: int) -> float:
    """Measure bare tasks in a second."""
    noop.app.conf.broker_url = servers.addresses().broker_url
    noop.noop.apply_async(queue=noop.QUEUE)
    with Redis.from_url(servers.addresses().broker_url) as client:
        client.delete(noop.DONE)
        started = time.perf_counter()
        run_in_threads(lambda _: noop.noop.apply_async(queue=noop.QUEUE), THREADS, count)
        noop.mark_done.apply_async(queue=noop.QUEUE)
        while not client.exists(noop.DONE):
            time.sleep(POLL_SECONDS)
        return count / (time.perf_counter() - started)


def measure_turns(servers: Stack, count: int) -> float:
    """Measure turns in a second."""
    producer = Producer(settings_of(servers).model_copy(update={"db_pool_size": THREADS}))
    producer.send("warm-up", "hello").wait(timeout=60)
    started = time.perf_counter()
    run_in_threads(lambda number: producer.send(f"t-{number}", "hello") and None, THREADS, count)
    while producer.database.run(count_unfinished):
        time.sleep(POLL_SECONDS)
    rate = count / (time.perf_counter() - started)
    producer.close()
    return rate


def count_unfinished(connection: Connection) -> int:
    """Count the turns that have not ended."""
    return connection.execute(select(func.count()).select_from(turns).where(unfinished)).scalar_one()


if __name__ == "__main__":
    main()
