"""The faults, each with its own mending: what dies is started again before the next fault.

What stays true: a fault returns when the installation is whole again; which one comes next, whom it
hits and for how long was all drawn from the seed before the first one.
"""

import os
import random
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import redis

from conversation.task_contract import CANCEL_CHANNEL, TASKS_OF_QUEUES, TURNS_QUEUE
from store.live.broker_users import CONTROL_CHANNEL
from store.live.event_channel import WATCH_CHANNEL, WATCHERS_CHANNEL
from store.live.task_messages import SEPARATOR
from tests.chaos.gate import Gate
from tests.chaos.recovery import Takeovers
from tests.chaos.site import GATED_WORKERS, GATEWAY, LEASE_DURATION_SECONDS, SENDERS_LINE, WORKERS, Site
from tests.control_commands import HOSTILE_COMMANDS
from tests.malformed_messages import malform

#: Seconds for which a server or a way to it is away.
AWAY_SECONDS = (0.5, 4.0)
#: Seconds beyond its lease that a worker sleeps or is cut off.
OVERSLEPT_SECONDS = 3.0
#: Malformed messages that are written into each queue.
MALFORMED_COUNT = 150
#: A list of wake-ups, of a priority that no turn of the run has.
FOREIGN_KEY = f"{TURNS_QUEUE}{SEPARATOR}4"
#: A worker dies most often.
WORKER_KILLED, WORKER_KILLED_WEIGHT = "worker killed", 3


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of a plan."""

    kind: str
    #: The worker that it hits, if its kind hits one.
    worker: str
    #: The same, of those whose line to the database can be cut.
    gated_worker: str
    #: For how long something is away, if its kind has a choice.
    seconds: float


def plan(kinds: Sequence[str], count: int, randomness: random.Random) -> list[Fault]:
    """Every kind about as often as every other, in a random order; workers are killed more often."""
    extra = [WORKER_KILLED] * (WORKER_KILLED_WEIGHT - 1) if count >= 2 * len(kinds) else []
    order: list[str] = []
    while len(order) < count:
        bag = [*kinds, *extra]
        order += randomness.sample(bag, k=len(bag))
    return [_fault(kind, randomness) for kind in order[:count]]


def _fault(kind: str, randomness: random.Random) -> Fault:
    worker, gated_worker = randomness.choice(WORKERS), randomness.choice(GATED_WORKERS)
    return Fault(kind, worker, gated_worker, randomness.uniform(*AWAY_SECONDS))


@dataclass(frozen=True, slots=True)
class Faults:
    """What can be done to one site."""

    site: Site
    takeovers: Takeovers

    def inject(self, fault: Fault) -> None:
        KINDS[fault.kind](self, fault)

    # One process

    def kill_worker(self, fault: Fault) -> None:
        """The others take over before it comes back, or it would wait for itself."""
        with self.takeovers.of(fault.worker):
            self.site.programs[fault.worker].kill()
        self.site.start(fault.worker)

    def kill_every_worker(self, fault: Fault) -> None:
        for name in WORKERS:
            self.site.programs[name].kill()
        time.sleep(fault.seconds)
        self.site.start(*WORKERS)

    def restart_worker(self, fault: Fault) -> None:
        """As a deployment does: it hands back what it cannot finish."""
        self.site.programs[fault.worker].stop(signal.SIGTERM, 60)
        self.site.start(fault.worker)

    def stop_worker(self, fault: Fault) -> None:
        with _stopped(self.site.programs[fault.worker].pid):
            time.sleep(LEASE_DURATION_SECONDS + OVERSLEPT_SECONDS)

    def kill_beat(self, fault: Fault) -> None:
        self._kill_for_a_while("beat", fault)

    def kill_maintenance(self, fault: Fault) -> None:
        self._kill_for_a_while("maintenance", fault)

    def kill_files_worker(self, fault: Fault) -> None:
        """Turns that need a file wait for it, or are put off."""
        self._kill_for_a_while("files", fault)

    def kill_gateway(self, fault: Fault) -> None:
        """Its clients know nothing of what they had asked, and ask again."""
        self._kill_for_a_while(GATEWAY, fault)

    def _kill_for_a_while(self, name: str, fault: Fault) -> None:
        self.site.programs[name].kill()
        time.sleep(fault.seconds)
        self.site.start(name)

    # The broker

    def kill_broker(self, fault: Fault) -> None:
        with self._without_broker():
            time.sleep(fault.seconds)

    def stop_broker(self, fault: Fault) -> None:
        with _stopped(self.site.valkey.pid):
            time.sleep(fault.seconds)

    def flush_broker(self, fault: Fault) -> None:
        with redis.Redis.from_url(self.site.valkey.url) as client:
            client.flushall()

    def send_hostile_commands(self, fault: Fault) -> None:
        """What whoever can publish would send: to end workers, to take their queues, to fill the machine."""
        with redis.Redis.from_url(self.site.valkey.url) as client:
            for command in HOSTILE_COMMANDS:
                client.publish(CONTROL_CHANNEL, command)
            for channel in (CANCEL_CHANNEL, WATCH_CHANNEL, WATCHERS_CHANNEL):
                for data in (b"\xff\xfe", b"[" * 100_000, b"null", b"x" * 1_000_000):
                    client.publish(channel, data)
        time.sleep(fault.seconds)
        assert all(self.site.programs[name].is_running for name in (*WORKERS, "files", "maintenance"))

    def kill_worker_and_broker(self, fault: Fault) -> None:
        with self._without_broker():
            self.site.programs[fault.worker].kill()
            time.sleep(fault.seconds)
        self.site.start(fault.worker)

    def write_malformed_messages(self, fault: Fault) -> None:
        """Whatever stands there ends no worker, nor does a list that is none. The next fault tells who is dead."""
        with redis.Redis.from_url(self.site.valkey.url) as client:
            for queue in TASKS_OF_QUEUES:
                client.lpush(queue, *malform(queue, MALFORMED_COUNT, seed=int(fault.seconds * 1e6)))
            client.set(FOREIGN_KEY, "no list")
            time.sleep(fault.seconds)
            client.delete(FOREIGN_KEY)

    # The database

    def restart_database(self, fault: Fault) -> None:
        with self._without_database(self.site.postgres.stop):
            time.sleep(fault.seconds)

    def restart_database_at_once(self, fault: Fault) -> None:
        with self._without_database(self.site.crash_database):
            time.sleep(fault.seconds)

    def kill_database(self, fault: Fault) -> None:
        with self._without_database(self.site.postgres.kill):
            time.sleep(fault.seconds)

    def kill_worker_and_database(self, fault: Fault) -> None:
        with self._without_database(self.site.crash_database):
            self.site.programs[fault.worker].kill()
            time.sleep(fault.seconds)
        self.site.start(fault.worker)

    def cut_worker(self, fault: Fault) -> None:
        with _cut(self.site.lines[fault.gated_worker]):
            time.sleep(fault.seconds)

    def cut_worker_for_long(self, fault: Fault) -> None:
        """It lives and works on while others take its turns: whatever it writes later is refused."""
        with _cut(self.site.lines[fault.gated_worker]):
            time.sleep(LEASE_DURATION_SECONDS + OVERSLEPT_SECONDS)

    def cut_senders(self, fault: Fault) -> None:
        with _cut(self.site.lines[SENDERS_LINE]):
            time.sleep(fault.seconds)

    # What is asked over the network

    def cut_provider(self, fault: Fault) -> None:
        with _cut(self.site.provider):
            time.sleep(fault.seconds)

    def cut_s3(self, fault: Fault) -> None:
        with _cut(self.site.s3):
            time.sleep(fault.seconds)

    def cut_receiver(self, fault: Fault) -> None:
        """Who is told of events by webhooks is away, in the middle of what it is told."""
        with _cut(self.site.receivers_line):
            time.sleep(fault.seconds)

    @contextmanager
    def _without_broker(self) -> Iterator[None]:
        self.site.valkey.kill()
        try:
            yield
        finally:
            self.site.valkey.start()

    @contextmanager
    def _without_database(self, stop: Callable[[], None]) -> Iterator[None]:
        stop()
        try:
            yield
        finally:
            self.site.postgres.start()


#: Each fault once: what a short run injects.
ESSENTIAL: Mapping[str, Callable[[Faults, Fault], None]] = {
    WORKER_KILLED: Faults.kill_worker,
    "worker stopped past its lease": Faults.stop_worker,
    "worker cut off past its lease": Faults.cut_worker_for_long,
    "beat killed": Faults.kill_beat,
    "broker killed": Faults.kill_broker,
    "broker flushed": Faults.flush_broker,
    "a malformed message": Faults.write_malformed_messages,
    "database restarted, fast": Faults.restart_database,
    "database restarted, immediate": Faults.restart_database_at_once,
    "provider cut off": Faults.cut_provider,
    "S3 cut off": Faults.cut_s3,
    "receiver of webhooks cut off": Faults.cut_receiver,
}
KINDS: Mapping[str, Callable[[Faults, Fault], None]] = {
    **ESSENTIAL,
    "worker restarted": Faults.restart_worker,
    "worker cut off for a moment": Faults.cut_worker,
    "every worker killed": Faults.kill_every_worker,
    "worker killed, broker away": Faults.kill_worker_and_broker,
    "worker killed, database away": Faults.kill_worker_and_database,
    "maintenance killed": Faults.kill_maintenance,
    "files worker killed": Faults.kill_files_worker,
    "broker stopped": Faults.stop_broker,
    "a hostile control command": Faults.send_hostile_commands,
    "database killed": Faults.kill_database,
    "senders cut off": Faults.cut_senders,
    "gateway killed": Faults.kill_gateway,
}


@contextmanager
def _cut(gate: Gate) -> Iterator[None]:
    gate.cut()
    try:
        yield
    finally:
        gate.mend()


@contextmanager
def _stopped(pid: int | None) -> Iterator[None]:
    """A process that does nothing and knows nothing of it."""
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
