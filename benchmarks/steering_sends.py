"""Webhooks, merge windows and schedules: how soon each is seen to, and how much is done in a second.

The receiver is a server in a process of its own, on this machine. An event's way begins with the end of its turn, by
the database's clock, which is this machine's; a maintenance worker sends it. What one sender does in a second is
measured in this process, with some hundred events of as many threads; a tick's runs go to a thread each.
"""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from typing import Any

import psycopg

from benchmarks.figures import Figure, Measures, at_least, percentile
from benchmarks.stage import ROOT, settings_of
from benchmarks.steering_agent import PLAIN
from conversation.ids import new_id
from conversation.webhooks import make_secret
from producers import Producer
from store.database.engine import Database
from store.live.direct_publisher import DirectPublisher
from store.schedules import repository
from store.schedules.request import ScheduleRequest
from store.settings import Settings
from store.webhooks import endpoints
from store.webhooks.endpoints import WebhookRequest
from store.webhooks.sealed_secrets import SealedSecrets
from tasks.jobs.schedules import run_schedules
from tasks.jobs.send_webhooks import send_webhooks
from threadmill.embedded.stack import Stack

EVENTS, WINDOWS, DELIVERIES, SCHEDULES = 40, 20, 500, 500
WINDOW_SECONDS = 1.0
LATE = """
select extract(epoch from started_at - turns.created_at) - %s from turns join threads on threads.key = turns.thread_key
where starts_with(threads.id, 'merged-')
"""
NETWORK = "127.0.0.0/8"
AGENT = "asking"
#: Each end of a turn is an event; the receiver's tenant is one of its own.
ENDS = """
insert into threads (tenant, id, metadata, created_at, updated_at)
select 'told', 'told-' || n, '{{}}', now(), now() from generate_series(1, {count}) as n;

insert into turns (id, thread_key, tenant, created_at, agent, metadata, state, attempt)
select gen_random_uuid(), key, tenant, now(), 'asking', '{{}}', 'running', 1 from threads where tenant = 'told';

update turns set state = 'completed', finished_at = clock_timestamp() where tenant = 'told' and state = 'running';

analyze
"""


class Receiver:
    """The server, as what it prints tells of it."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "benchmarks.steering_receiver"]
        self._process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.url = f"http://127.0.0.1:{int(self._process.stdout.readline())}/hooks"
        #: Of each event the seconds from its moment to here.
        self.delays: list[float] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def close(self) -> None:
        """End the server."""
        self._process.terminate()
        self._process.wait(timeout=10)
        self._reader.join(timeout=10)

    def wait(self, count: int) -> None:
        """Wait for so many events, all in all."""
        deadline = time.monotonic() + 60
        while len(self.delays) < count:
            assert time.monotonic() < deadline, "the events do not come"
            time.sleep(0.002)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            received_at, moment = line.split()
            self.delays.append(float(received_at) - datetime.fromisoformat(moment).timestamp())


def measure(servers: Stack, *, quick: bool) -> Measures:
    """Measure webhooks, then schedules; the servers have workers of turns and of maintenance."""
    keys = servers.environment["THREADMILL_WEBHOOK_ENCRYPTION_KEYS"]
    settings = settings_of(servers, webhook_encryption_keys=keys, webhook_allow_networks=NETWORK)
    with closing(Database(settings)) as database, closing(Receiver()) as receiver:
        return [
            *measure_way(database, receiver, 5 if quick else EVENTS),
            *measure_windows(database, 3 if quick else WINDOWS),
            *measure_sender(database, receiver, 20 if quick else DELIVERIES),
            *measure_tick(database, servers, 20 if quick else SCHEDULES),
        ]


def measure_way(database: Database, receiver: Receiver, count: int) -> list[Figure]:
    """One event after the other, each of a turn that a worker ends."""
    with open_webhook(database, receiver, "default"):
        producer = Producer(database.settings)
        for number in range(count):
            producer.send(f"heard-{number}", PLAIN, agent=AGENT).wait(timeout=60)
            receiver.wait(number + 1)
        producer.close()
        delays_ms = [1000 * delay for delay in receiver.delays]
    return [
        Figure(key="event", label="a turn's end to its webhook, p50", rounds=[percentile(delays_ms, 50)], unit="ms"),
        Figure(key="event_p95", label="... p95", rounds=[percentile(delays_ms, 95)], unit="ms"),
    ]


def measure_windows(database: Database, count: int) -> list[Figure]:
    """Threads with a message each that waits for more; nobody sweeps."""
    producer = Producer(database.settings)
    options = {"agent": AGENT, "when_busy": "merge", "merge_window": WINDOW_SECONDS}
    turns = [producer.send(f"merged-{number}", PLAIN, **options) for number in range(count)]
    for turn in turns:
        turn.wait(timeout=60)
    producer.close()
    with _connect(database.settings) as connection:
        rows = connection.execute(LATE, [WINDOW_SECONDS]).fetchall()
    late_ms = [1000 * float(late) for (late,) in rows]
    return [
        Figure(key="window", label="a merge window's end to its turn, p50", rounds=[percentile(late_ms, 50)], unit="ms")
    ]


def measure_sender(database: Database, receiver: Receiver, count: int) -> list[Figure]:
    """Deliveries that wait, sent by this process; the maintenance worker is told of none of them."""
    before = len(receiver.delays)
    with open_webhook(database, receiver, "told"):
        with _connect(database.settings) as connection:
            # Their webhook is away while they are written: nobody is notified of it twice.
            connection.execute("update webhooks set retry_at = now() + interval '1 hour' where tenant = 'told'")
            for statement in ENDS.format(count=count).split(";"):
                connection.execute(statement)
            time.sleep(0.5)
            connection.execute("update webhooks set retry_at = null where tenant = 'told'")
        began = time.perf_counter()
        sent = send_webhooks(database, database.settings).get("delivered", 0)
        rate = sent / (time.perf_counter() - began)
        receiver.wait(before + count)
    return [Figure(key="deliveries", label="deliveries of one sender", rounds=[rate], unit="/s")]


def measure_tick(database: Database, servers: Stack, count: int) -> list[Figure]:
    """Schedules that are due at once, run by this process until none is."""
    for number in range(count):
        request = ScheduleRequest(
            content=PLAIN, agent="nobody", cron="0 0 1 1 *", thread_id=f"scheduled-{number}", catch_up="all"
        )
        database.run(repository.create_schedule, new_id(), request)
    with _connect(database.settings) as connection:
        connection.execute("update schedules set next_at = date_trunc('year', now())")
        connection.execute("analyze schedules")
    publisher = DirectPublisher.open(servers.addresses().broker_url, {}, timeout_seconds=5)
    assert publisher is not None
    began, sent = time.perf_counter(), 0
    while sent < count:
        sent += run_schedules(database, database.settings, publisher.publish).sent
    rate = count / (time.perf_counter() - began)
    publisher.close()
    return [
        Figure(key="schedules", label="runs of schedules by one tick", rounds=[rate], unit="/s", demand=at_least(300))
    ]


@contextmanager
def open_webhook(database: Database, receiver: Receiver, tenant: str) -> Iterator[None]:
    """A webhook of a tenant, that is gone afterwards."""
    request, webhook_id = WebhookRequest(tenant=tenant, url=receiver.url), new_id()
    database.run(endpoints.create_webhook, request, webhook_id, make_secret(), SealedSecrets(database.settings))
    yield
    database.run(endpoints.delete_webhook, tenant, webhook_id)


def _connect(settings: Settings) -> psycopg.Connection[Any]:
    return psycopg.connect(settings.database_url.get_secret_value(), autocommit=True)
