"""Turns that wait for their models in one worker process, a thousand and three thousand at once.

Each has a thread of 50 messages, all of which its model is sent; all wake-ups are in the queue before
the worker takes the first. The model waits for some seconds and takes none of the processor's time; it
holds no connection, as one that streams does. Memory is what the process holds beyond what it held idle,
by the turn, while most are in flight. The loop's lag is what a sleep of 10 ms on it takes too long, from
the first claim to the last commit. A turn is late to settle by what passes between the moment in which
its model was to answer and the commit, by the database's clock, which is this machine's.
"""

import os
import signal
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from benchmarks.figures import Figure, Measures, at_least, at_most, percentile
from benchmarks.stage import processor_seconds, resident_kib, run_in_threads, settings_of, stack
from benchmarks.stock import stock_threads
from benchmarks.waiting_agent import LAG_FILE, SECONDS, WARM_UP
from conversation.task_contract import TURNS_QUEUE
from producers import Producer
from threadmill.embedded.process import Process
from threadmill.embedded.programs import worker
from threadmill.embedded.stack import Stack

MESSAGES = 50
AGENT = "waiting"
WARM_TURNS = 50
#: Claims a second that are counted on, for the model to wait until all are in flight.
CLAIMS_PER_SECOND = 120
#: Seconds beyond the model's for the turns to end.
END_SECONDS = 50.0
#: Stands for what never came.
NEVER_MS = 1_000_000.0
STATES = "select count(*) filter (where state = 'running'), count(*) filter (where finished_at is null) from turns"
ENDS = """
    select extract(epoch from started_at)::float8, extract(epoch from finished_at)::float8, content, turns.state
    from turns left join messages on messages.turn_id = turns.id and messages.role = 'assistant'
    where turns.thread_key in (select key from threads where starts_with(id, 't-'))
"""


@dataclass(frozen=True)
class Crowd:
    """What was seen of so many turns that waited."""

    count: int
    in_flight: int
    ended: int
    kib_each: float
    worker_ms: float
    lags_ms: list[float]
    late_ms: list[float]

    def figures(self) -> list[Figure]:
        name, key = f"{self.count:,} turns", str(self.count)
        lines: list[tuple[str, str, float, str, Any]] = [
            ("in_flight", "in flight at once", self.in_flight, "", at_least(self.count)),
            ("completed", "completed", self.ended, "", at_least(self.count)),
            ("memory", "memory over the idle process, each", self.kib_each, "KiB", at_most(64)),
            ("lag_p50", "lag of the loop, p50", percentile(self.lags_ms, 50), "ms", None),
            ("lag_p99", "lag of the loop, p99", percentile(self.lags_ms, 99), "ms", at_most(30)),
            ("late_p99", "late to settle, p99", percentile(self.late_ms, 99), "ms", at_most(100)),
            ("cpu", "worker's processor time, each", self.worker_ms, "ms", None),
        ]
        return [
            Figure(key=f"{part}_{key}", label=f"{name}: {label}", rounds=[value], unit=unit, demand=demand)
            for part, label, value, unit, demand in lines
        ]


def measure(*, quick: bool) -> Measures:
    """Two crowds, each on servers and a worker of its own."""
    return [figure for count in ((100,) if quick else (1_000, 3_000)) for figure in watch(count).figures()]


def watch(count: int) -> Crowd:
    """Let so many turns wait, and look on."""
    wait_seconds = 4 + count / CLAIMS_PER_SECOND
    with tempfile.TemporaryDirectory() as folder, stack() as servers:
        settings = settings_of(servers, db_pool_size=8)
        lag_file = Path(folder) / "lag"
        with psycopg.connect(settings.database_url.get_secret_value(), autocommit=True) as connection:
            stock_threads(connection, "t-", count, MESSAGES)
            stock_threads(connection, "warm-", WARM_TURNS, MESSAGES)
            process = start_worker(servers, count, {LAG_FILE: str(lag_file), SECONDS: str(wait_seconds)})
            producer = Producer(settings)
            for turn in [send(producer, f"warm-{number}", WARM_UP) for number in range(WARM_TURNS)]:
                turn.wait(timeout=60)
            idle_kib, idle_seconds = resident_kib(process.pid), processor_seconds(process.pid)
            assert process.pid is not None
            # It takes no wake-up before all are there.
            os.kill(process.pid, signal.SIGSTOP)
            run_in_threads(lambda number: send(producer, f"t-{number}", "hello"), 4, count)
            os.kill(process.pid, signal.SIGCONT)
            resumed_at = time.time()
            in_flight, peak_kib = watch_until_ended(connection, process, wait_seconds + END_SECONDS)
            ended_at = time.time()
            worker_ms = 1000 * (processor_seconds(process.pid) - idle_seconds) / count
            late_ms, ended = read_ends(connection)
            producer.close()
        time.sleep(1)
        process.stop(timeout_seconds=40)
        lags = read_lags(lag_file, resumed_at, ended_at)
    return Crowd(count, in_flight, ended, (peak_kib - idle_kib) / max(1, in_flight), worker_ms, lags, late_ms)


def start_worker(servers: Stack, count: int, variables: dict[str, str]) -> Process:
    """A worker process that may take so many turns at once."""
    program = worker("turns", [TURNS_QUEUE], options=["-c", str(count)])
    environment = {
        **servers.environment,
        **program.environment,
        **variables,
        "THREADMILL_AGENT_MODULES": "benchmarks.waiting_agent",
    }
    log = Path(servers.addresses().file_store).parent / "logs" / "waiting.log"
    process = Process("worker", program.argv, log=log, environment=environment)
    process.start()
    process.wait_ready(lambda: program.is_ready(process), program.start_seconds)
    return process


def send(producer: Producer, thread: str, content: str) -> Any:
    return producer.send(thread, content, agent=AGENT)


def watch_until_ended(connection: psycopg.Connection[Any], process: Process, seconds: float) -> tuple[int, int]:
    """The most turns that ran at once, and the memory that the process held then."""
    most, kib = 0, 0
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        row = connection.execute(STATES).fetchone()
        assert row is not None
        running, unfinished = row
        if running > most:
            most, kib = running, resident_kib(process.pid)
        if not unfinished:
            break
        time.sleep(0.2)
    return most, kib


def read_ends(connection: psycopg.Connection[Any]) -> tuple[list[float], int]:
    """By how many milliseconds each completed turn was late, and how many there are."""
    rows = connection.execute(ENDS).fetchall()
    late_ms = [1000 * (ended - float(content)) for _, ended, content, state in rows if state == "completed"]
    return late_ms or [NEVER_MS], len(late_ms)


def read_lags(path: Path, since: float, until: float) -> list[float]:
    """What the probe wrote between two moments. The first look after the stop is the stop's own."""
    lines = [tuple(map(float, line.split())) for line in path.read_text().splitlines() if line.count(" ") == 1]
    return [lag for at, lag in lines if since < at <= until][1:] or [NEVER_MS]
