"""Turns that wait for a person: what they hold of a worker, and how soon an approved one runs.

Some hundreds come to their wait through a real worker: its memory and connections are looked at before and after, and
some of them are approved.
"""

import time
from typing import Any

import psycopg

from benchmarks.figures import Figure, Measures, at_most
from benchmarks.stage import resident_kib, run_in_threads, settings_of
from benchmarks.steering_agent import PLAIN
from producers import Producer
from producers.turn import Turn
from threadmill.embedded.stack import Stack

TURNS, APPROVALS = 200, 30
AGENT = "asking"
THREADS = 8
WAITING = "select count(*) from turns where state = 'waiting'"
CONNECTIONS = "select count(*) from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()"


def measure(servers: Stack, *, quick: bool) -> Measures:
    """Measure both, on servers with a worker of the agent that asks."""
    count = 20 if quick else TURNS
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
