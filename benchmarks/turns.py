"""Turns in a second, end to end on one worker process, against bare no-op Celery tasks.

From the first publish to the last end, published by eight threads of this process. The turns have the
offline model, and each is a thread of its own: sent, published, claimed, answered, committed. The tasks
run on the stock pool, and on the pool that turns have; Celery's own work is in all figures. Publishers,
worker and database share the machine's cores, so the processor time says more about the worker than the
rate does.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import psycopg
from redis import Redis

from benchmarks import noop
from benchmarks.figures import Figure, Measures, Note, at_least, at_most, ratio_at_least, ratio_at_most
from benchmarks.stage import (
    bare_worker,
    processor_seconds,
    processor_seconds_of_tree,
    read_wal_position,
    rounds_within,
    run_in_threads,
    settings_of,
    stack,
)
from conversation.task_contract import TURNS_QUEUE
from producers import Producer
from threadmill.embedded.process import POLL_SECONDS
from threadmill.embedded.programs import Program, worker
from threadmill.embedded.stack import Stack

THREADS = 8
#: Seconds for the turns of one round to end, and seconds after which no further round begins.
ROUND_SECONDS, BUDGET_SECONDS = 120, 60
TURNS = worker("turns", [TURNS_QUEUE])
STOCK = bare_worker("noop", noop.QUEUE, "-P", "threads")
OWN_POOL = bare_worker("noop-own-pool", noop.OWN_POOL_QUEUE)
UNFINISHED = "select count(*) from turns where state in ('queued', 'running')"
#: Runs a second of Aegra on a machine of this kind, as others measured them; eight times as many are wanted.
AEGRA_RUNS_PER_SECOND = 30


@dataclass
class Column:
    """The rounds of one kind of work."""

    rates: list[float] = field(default_factory=list)
    #: Milliseconds of the worker's processor time, each task.
    worker_ms: list[float] = field(default_factory=list)


def pool_of(program: Program) -> str:
    """The Celery pool of a worker: Celery takes the last that is named."""
    return next(
        pool for option, pool in reversed(list(zip(program.argv, program.argv[1:], strict=False))) if option == "-P"
    )


def measure(*, quick: bool) -> Measures:
    """Tasks and turns alternate; the other workers are idle meanwhile."""
    count, rounds = (100, 1) if quick else (600, 5)
    has_own_pool = pool_of(TURNS) != "threads"
    programs = (STOCK, OWN_POOL, TURNS) if has_own_pool else (STOCK, TURNS)
    columns = {program.name: Column() for program in programs}
    servers_ms: dict[str, list[float]] = {"postgres": [], "valkey": []}
    wal_kb: list[float] = []
    with stack(*programs) as servers, psycopg.connect(servers.addresses().database_url, autocommit=True) as connection:
        producer = Producer(settings_of(servers, db_pool_size=THREADS))

        def run_turns() -> float:
            wal_before = read_wal_position(connection)
            before = {name: processor_seconds_of_tree(servers.pid(name)) for name in servers_ms}
            rate = measure_turns(producer, connection, count)
            wal_kb.append((read_wal_position(connection) - wal_before) / 1000 / count)
            for name, column in servers_ms.items():
                column.append(1000 * (processor_seconds_of_tree(servers.pid(name)) - before[name]) / count)
            return rate

        work: dict[str, Callable[[], float]] = {
            STOCK.name: lambda: measure_no_ops(servers, noop.noop, noop.QUEUE, count),
            OWN_POOL.name: lambda: measure_no_ops(servers, noop.noop_turn, noop.OWN_POOL_QUEUE, count),
            TURNS.name: run_turns,
        }
        measure_turns(producer, connection, THREADS)
        for _ in rounds_within(BUDGET_SECONDS, rounds):
            for name, column in columns.items():
                seconds_before = processor_seconds(servers.pid(name))
                column.rates.append(work[name]())
                column.worker_ms.append(1000 * (processor_seconds(servers.pid(name)) - seconds_before) / count)
        producer.close()
    return [*figures_of(columns), *server_figures(servers_ms, wal_kb)]


def figures_of(columns: dict[str, Column]) -> Measures:
    """The rates and the processor times, each beside those of the bare tasks."""
    stock, own = columns[STOCK.name], columns[TURNS.name]
    tasks = Figure(key="noop", label="bare no-op Celery tasks, stock pool", rounds=stock.rates, unit="/s")
    cpu = Figure(key="noop_cpu", label="worker's processor time, each task", rounds=stock.worker_ms, unit="ms")
    lines: list[Figure | Note] = [tasks]
    if OWN_POOL.name in columns:
        pool = columns[OWN_POOL.name]
        label = "bare no-op Celery tasks, the pool of turns"
        pool_tasks = Figure(key="noop_own_pool", label=label, rounds=pool.rates, unit="/s")
        label, demand = "turns, against those", ratio_at_least(0.5)
        lines += [
            pool_tasks,
            Figure(key="turns_own_pool", label=label, rounds=own.rates, unit="/s", baseline=pool_tasks, demand=demand),
        ]
        label = "worker's processor time, each task, the pool of turns"
        pool_cpu = Figure(key="noop_own_pool_cpu", label=label, rounds=pool.worker_ms, unit="ms")
    else:
        lines.append(Note("turns have Celery's stock pool, so there is no other one to compare them on"))
        pool_cpu = None
    label, demand = "turns with the offline model", ratio_at_least(0.6)
    lines.append(Figure(key="turns", label=label, rounds=own.rates, unit="/s", baseline=tasks, demand=demand))
    label, demand = "... eight times Aegra's 30 runs a second", at_least(8 * AEGRA_RUNS_PER_SECOND)
    lines += [Figure(key="aegra", label=label, rounds=own.rates, unit="/s", demand=demand), cpu]
    lines += [] if pool_cpu is None else [pool_cpu]
    label, demand = "worker's processor time, each turn", ratio_at_most(1.5)
    lines.append(Figure(key="turns_cpu", label=label, rounds=own.worker_ms, unit="ms", baseline=cpu, demand=demand))
    return lines


def server_figures(servers_ms: dict[str, list[float]], wal_kb: list[float]) -> Measures:
    """What a turn costs the servers, its sending included."""
    database, broker = servers_ms["postgres"], servers_ms["valkey"]
    return [
        Figure(key="database_cpu", label="PostgreSQL's processor time, each turn", rounds=database, unit="ms"),
        Figure(key="broker_cpu", label="Valkey's processor time, each turn", rounds=broker, unit="ms"),
        Figure(key="wal", label="write-ahead log, each turn", rounds=wal_kb, unit="kB", demand=at_most(5.5)),
    ]


def measure_no_ops(servers: Stack, task: Any, queue: str, count: int) -> float:
    """Measure bare tasks in a second."""
    noop.app.conf.broker_url = servers.addresses().broker_url
    task.apply_async(queue=queue)
    with Redis.from_url(servers.addresses().broker_url) as client:
        client.delete(noop.DONE)
        started = time.perf_counter()
        run_in_threads(lambda _: task.apply_async(queue=queue), THREADS, count)
        noop.mark_done.apply_async(queue=queue)
        while not client.exists(noop.DONE):
            time.sleep(POLL_SECONDS)
            assert time.perf_counter() < started + ROUND_SECONDS, "the bare tasks did not end"
        return count / (time.perf_counter() - started)


def measure_turns(producer: Producer, connection: psycopg.Connection[tuple[object, ...]], count: int) -> float:
    """Measure turns in a second, each on a thread of its own."""
    round_id = time.time_ns()
    started = time.perf_counter()
    run_in_threads(
        lambda number: producer.send(f"t-{round_id}-{number}", "hello", allow_unknown_agent=True), THREADS, count
    )
    while connection.execute(UNFINISHED).fetchone() != (0,):
        time.sleep(POLL_SECONDS)
        assert time.perf_counter() < started + ROUND_SECONDS, "the turns did not end"
    return count / (time.perf_counter() - started)
