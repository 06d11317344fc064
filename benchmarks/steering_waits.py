"""Ten thousand turns that wait for a person: what they hold, what a minute of ticks costs, and how soon one runs.

The ticks are those of beat: the sweep, the look for webhooks and the look for schedules. So many as a minute has are
played one after the other, while ten thousand turns have ended, and while the same wait, over and over. What counts of
each tick is the lower quartile of its processor time, that of this process and of its connection's at PostgreSQL, since
whatever else the machine does adds to it. Some hundreds of turns come to their wait through a real
worker: its memory and connections are looked at before and after, and some of them are approved.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg

from benchmarks.figures import Figure, Measures, at_most, percentile
from benchmarks.processor_clock import ProcessorClock
from benchmarks.stage import resident_kib, rounds_within, run_in_threads, settings_of
from benchmarks.steering_agent import PLAIN
from conversation.task_contract import WakeUp
from producers import Producer
from producers.turn import Turn
from store.database.engine import Database
from store.settings import Settings
from store.turns import sweep, unserved
from tasks.jobs.schedules import run_schedules
from tasks.jobs.send_webhooks import send_webhooks
from threadmill.embedded.stack import Stack

TURNS, REAL_TURNS, APPROVALS = 10_000, 200, 30
AGENT = "asking"
#: Times that the turns wait and have ended, each for a minute that is played; and seconds after which none begins.
ROUNDS, BUDGET_SECONDS = 30, 30
#: Percent.
QUARTILE = 25
THREADS = 8
STOCK = """
insert into threads (tenant, id, metadata, created_at, updated_at, last_seq)
select 'default', 'waiting-' || n, '{{}}', now(), now(), 1 from generate_series(1, {turns}) as n;

insert into turns (id, thread_key, tenant, created_at, agent, metadata, state, attempt, window_to_seq, finished_at)
select gen_random_uuid(), key, 'default', now(), 'asking', '{{}}', 'completed', 1, 1, now()
from threads where starts_with(id, 'waiting-')
"""
TO_WAIT = """
update turns set state = 'waiting', finished_at = null, wait_expires_at = now() + interval '7 days';

insert into pending_calls (
    turn_id, call_id, tenant, step_index, kind, name, arguments, arguments_digest, requested_at, expires_at
)
select id, 'call-1', tenant, 1, 'approval', 'act', '{}', '', now(), wait_expires_at from turns;

vacuum analyze turns, pending_calls
"""
TO_END = """
update turns set state = 'completed', finished_at = now(), wait_expires_at = null;

delete from pending_calls;

vacuum analyze turns, pending_calls
"""
WAITING = "select count(*) from turns where state = 'waiting'"
CONNECTIONS = "select count(*) from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()"


@dataclass(frozen=True)
class Tick:
    """One of beat's."""

    seconds: float
    run: Callable[[Database, Settings], object]


def ticks_of(settings: Settings) -> list[Tick]:
    """What beat has done for turns that wait, or might have to."""
    return [
        Tick(settings.sweep_interval_seconds, _sweep),
        Tick(settings.webhook_interval_seconds, send_webhooks),
        Tick(settings.schedule_interval_seconds, lambda database, own: run_schedules(database, own, _publish_none)),
    ]


def _sweep(database: Database, settings: Settings) -> None:
    assert not database.run(unserved.list_overdue, limit=settings.sweep_batch)
    wake_ups = database.run(
        sweep.pick_wake_ups, grace_seconds=settings.sweep_grace_seconds, limit=settings.sweep_batch, in_broker={}
    )
    assert wake_ups == [], "a turn that waits was woken up"


def _publish_none(wake_up: WakeUp) -> None:
    raise AssertionError(wake_up)


def measure_ticks(servers: Stack, *, quick: bool) -> list[Figure]:
    """What a minute of ticks costs more while turns wait."""
    run_script(servers, STOCK.format(turns=100 if quick else TURNS))
    database = Database(settings_of(servers, db_pool_size=1))
    clock, ticks = ProcessorClock(database), ticks_of(database.settings)
    ended_ms: list[list[float]] = [[] for _ in ticks]
    waiting_ms: list[list[float]] = [[] for _ in ticks]
    for _ in rounds_within(BUDGET_SECONDS, 1 if quick else ROUNDS):
        for script, costs in ((TO_END, ended_ms), (TO_WAIT, waiting_ms)):
            run_script(servers, script)
            play_minute(database, clock, ticks, costs)
    database.close()
    idle_ms, busy_ms = (
        sum(60 / tick.seconds * percentile(costs, QUARTILE) for tick, costs in zip(ticks, each, strict=True))
        for each in (ended_ms, waiting_ms)
    )
    label = "processor time of a minute's ticks, nothing waits"
    return [
        Figure(key="minute_idle", label=label, rounds=[idle_ms], unit="ms"),
        Figure(
            key="minute_waiting",
            label=f"processor time of a minute's ticks, more while {TURNS:,} turns wait",
            rounds=[max(0.0, busy_ms - idle_ms)],
            unit="ms",
            demand=at_most(1),
        ),
    ]


def play_minute(database: Database, clock: ProcessorClock, ticks: list[Tick], costs: list[list[float]]) -> None:
    """Play as many of each tick as a minute has, and note what each costs."""
    for tick, column in zip(ticks, costs, strict=True):
        for _ in range(round(60 / tick.seconds)):
            before = clock.read_ms()
            tick.run(database, database.settings)
            column.append(clock.read_ms() - before)


def run_script(servers: Stack, script: str) -> None:
    """Run statements, each alone."""
    with psycopg.connect(servers.addresses().database_url, autocommit=True) as connection:
        for statement in script.split(";"):
            connection.execute(statement)


def measure_worker(servers: Stack, *, quick: bool) -> list[Figure]:
    """What turns that wait hold of a worker that brought them there, and how soon an approved one runs its tool."""
    count = 20 if quick else REAL_TURNS
    with psycopg.connect(servers.addresses().database_url, autocommit=True) as connection:
        producer = Producer(settings_of(servers, db_pool_size=THREADS))
        # Its memory grows with the first turns, whatever they are; and its connections are there.
        run_in_threads(lambda number: _send(producer, f"warm-{number}", PLAIN).wait(timeout=60), THREADS, count)
        begin_waiting(producer, connection, "first", count)
        kib, connections = resident_kib(servers.pid("turns")), read_number(connection, CONNECTIONS)
        turns = begin_waiting(producer, connection, "next", count)
        more_kib = (resident_kib(servers.pid("turns")) - kib) / count
        more_connections = read_number(connection, CONNECTIONS) - connections
        delays = [approve(turn) for turn in turns[: 3 if quick else APPROVALS]]
        producer.close()
    return [
        Figure(
            key="connections",
            label=f"connections that {count} turns hold while they wait",
            rounds=[max(0, more_connections)],
            unit="",
            demand=at_most(0),
        ),
        Figure(key="memory", label="memory of a worker, each that waits", rounds=[max(0.0, more_kib)], unit="KiB"),
        Figure(key="approve", label="approved to the tool's run", rounds=delays, unit="ms", demand=at_most(1000)),
        Figure(key="approve_most", label="... the slowest", rounds=[max(delays)], unit="ms", demand=at_most(1000)),
    ]


def begin_waiting(producer: Producer, connection: psycopg.Connection[Any], name: str, count: int) -> list[Turn]:
    """Send, until so many turns more wait."""
    target = read_number(connection, WAITING) + count
    turns: list[Turn] = []
    run_in_threads(lambda number: turns.append(_send(producer, f"{name}-{number}", "act")), THREADS, count)
    deadline = time.monotonic() + 60
    while read_number(connection, WAITING) < target:
        assert time.monotonic() < deadline, "the turns do not wait"
        time.sleep(0.05)
    return turns


def approve(turn: Turn) -> float:
    """Approve what a turn waits for; the milliseconds until its tool ran."""
    approved_at = time.time()
    turn.approve("call-1", by="ada")
    reply = turn.wait(timeout=60)
    return 1000 * (float(reply.content) - approved_at)


def read_number(connection: psycopg.Connection[Any], query: str) -> int:
    """The one number that a query gives."""
    row = connection.execute(query).fetchone()
    assert row is not None
    return int(row[0])


def _send(producer: Producer, thread: str, content: str) -> Turn:
    return producer.send(thread, content, agent=AGENT)


def measure(servers: Stack, *, quick: bool) -> Measures:
    """Measure both, on servers with a worker of the agent that asks."""
    return [*measure_ticks(servers, quick=quick), *measure_worker(servers, quick=quick)]
