"""Ten thousand turns that wait for a person: what they hold, what a minute of ticks costs, and how soon one runs.

The ticks are those of beat: the sweep, the look for webhooks and the look for schedules. So many as a minute has are
played one after the other, each on a database in which ten thousand turns have ended and on one in which they wait, by
turns. What counts of each is the lower quartile of its processor time, that of this process and of its connection's at
PostgreSQL, since whatever else the machine does adds to it. Some hundreds of turns come to their wait through a real
worker: its memory and connections are looked at before and after, and some of them are approved.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
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
#: Minutes that are played, and seconds after which no further one begins.
MINUTES, BUDGET_SECONDS = 20, 12
#: Percent.
QUARTILE = 25
THREADS = 8
STOCK = """
insert into threads (tenant, id, metadata, created_at, updated_at, last_seq)
select 'default', 'waiting-' || n, '{{}}', now(), now(), 1 from generate_series(1, {turns}) as n;

insert into turns (
    id, thread_key, tenant, created_at, agent, metadata, state, attempt, window_to_seq, wait_expires_at, finished_at
)
select gen_random_uuid(), key, 'default', now(), 'asking', '{{}}', '{state}', 1, 1,
    case '{state}' when 'waiting' then now() + interval '7 days' end, case '{state}' when 'completed' then now() end
from threads where starts_with(id, 'waiting-');

insert into pending_calls (
    turn_id, call_id, tenant, step_index, kind, name, arguments, arguments_digest, requested_at, expires_at
)
select id, 'call-1', tenant, 1, 'approval', 'act', '{{}}', '', now(), now() + interval '7 days'
from turns where state = 'waiting';

vacuum analyze
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


def measure_ticks(idle: Stack, busy: Stack, *, quick: bool) -> list[Figure]:
    """What a minute of ticks costs more beside turns that wait."""
    with contextlib.ExitStack() as entered:
        sites = [entered.enter_context(_open(servers)) for servers in (idle, busy)]
        settings = sites[0][0].settings
        ticks = ticks_of(settings)
        costs: list[tuple[list[float], list[float]]] = [([], []) for _ in ticks]
        for _ in rounds_within(BUDGET_SECONDS, 1 if quick else MINUTES):
            for tick, columns in zip(ticks, costs, strict=True):
                for number in range(round(60 / tick.seconds)):
                    # By turns the first: whatever the machine does in between is warmer for the second.
                    pairs = list(zip(sites, columns, strict=True))
                    for (database, clock), column in pairs[:: 1 if number % 2 else -1]:
                        before = clock.read_ms()
                        tick.run(database, settings)
                        column.append(clock.read_ms() - before)
    idle_ms, busy_ms = (
        sum(
            60 / tick.seconds * percentile(columns[place], QUARTILE) for tick, columns in zip(ticks, costs, strict=True)
        )
        for place in (0, 1)
    )
    return [
        Figure(
            key="minute_idle", label="processor time of a minute's ticks, nothing waits", rounds=[idle_ms], unit="ms"
        ),
        Figure(
            key="minute_waiting",
            label=f"... more, while {TURNS:,} turns wait",
            rounds=[max(0.0, busy_ms - idle_ms)],
            unit="ms",
            demand=at_most(1),
        ),
    ]


@contextlib.contextmanager
def _open(servers: Stack) -> Iterator[tuple[Database, ProcessorClock]]:
    database = Database(settings_of(servers, db_pool_size=1))
    yield database, ProcessorClock(database)
    database.close()


def stock(servers: Stack, turns: int, state: str) -> None:
    """Turns that wait, or have ended, as workers leave them."""
    with psycopg.connect(servers.addresses().database_url, autocommit=True) as connection:
        for statement in STOCK.format(turns=turns, state=state).split(";"):
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


def measure(idle: Stack, busy: Stack, *, quick: bool) -> Measures:
    """Measure both; `busy` has a worker of the agent that asks."""
    for servers, state in ((idle, "completed"), (busy, "waiting")):
        stock(servers, 100 if quick else TURNS, state)
    return [*measure_ticks(idle, busy, quick=quick), *measure_worker(busy, quick=quick)]
