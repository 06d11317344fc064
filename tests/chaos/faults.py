"""The faults, each with its own mending: what dies is started again before the next fault.

What stays true: a fault returns when the installation is whole again; which one comes next, and whom
it hits, follows from the seed.
"""

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import psycopg
import redis

from tests.chaos.site import LEASE_SECONDS, WORKERS, Site

#: Seconds for which a server or a way to it is away.
AWAY_SECONDS = (0.5, 4.0)
#: Seconds beyond its lease that a stopped worker sleeps.
OVERSLEPT_SECONDS = 3.0
#: Seconds after which a dead worker's turns count as never taken over.
RECOVERY_LIMIT_SECONDS = 120.0


@dataclass
class Faults:
    """What can be done to one site, and the times of recovery that were seen."""

    site: Site
    randomness: random.Random
    #: Seconds from a worker's death until the last of its turns was claimed by another, or over.
    recoveries: list[float] = field(default_factory=list)

    def kinds(self) -> dict[str, Callable[[], None]]:
        return {
            "worker killed": self.kill_worker,
            "beat killed": self.kill_beat,
            "broker killed": self.kill_broker,
            "broker flushed": self.flush_broker,
            "database restarted, fast": self.restart_database,
            "database restarted, immediate": self.crash_database,
            "worker stopped past its lease": self.stop_worker,
            "provider cut off": self.cut_provider,
            "S3 cut off": self.cut_s3,
        }

    def kill_worker(self) -> None:
        name = self.randomness.choice(WORKERS)
        held = self._held_by(name)
        self.site.programs[name].kill()
        died_at = time.monotonic()
        # Another worker takes over: this one comes back only after that, or it would wait for itself.
        self._see_taken_over(held, died_at)
        self.site.start(name)

    def kill_beat(self) -> None:
        self.site.programs["beat"].kill()
        self._pause()
        self.site.start("beat")

    def kill_broker(self) -> None:
        self.site.valkey.kill()
        self._pause()
        self.site.valkey.start()

    def flush_broker(self) -> None:
        with redis.Redis.from_url(self.site.valkey.url) as client:
            client.flushall()

    def restart_database(self) -> None:
        self.site.postgres.stop()
        self._pause()
        self.site.postgres.start()

    def crash_database(self) -> None:
        self.site.postgres.kill()
        self._pause()
        self.site.postgres.start()

    def stop_worker(self) -> None:
        process = self.site.programs[self.randomness.choice(WORKERS)]
        assert process.pid is not None
        os.kill(process.pid, signal.SIGSTOP)
        time.sleep(LEASE_SECONDS + OVERSLEPT_SECONDS)
        os.kill(process.pid, signal.SIGCONT)

    def cut_provider(self) -> None:
        with _cut(self.site.provider.cut, self.site.provider.mend):
            self._pause()

    def cut_s3(self) -> None:
        with _cut(self.site.s3.cut, self.site.s3.mend):
            self._pause()

    def _pause(self) -> None:
        time.sleep(self.randomness.uniform(*AWAY_SECONDS))

    def _held_by(self, name: str) -> dict[str, int]:
        """The running turns of a worker's process, each with the number of its attempt."""
        rows = self.site.query(
            "SELECT r.id::text AS id, r.attempt FROM turns r JOIN threads t ON t.key = r.thread_key "
            "JOIN workers w ON w.id = t.owner WHERE w.pid = %s AND r.state = 'running'",
            self.site.programs[name].pid,
        )
        return {row["id"]: row["attempt"] for row in rows}

    def _see_taken_over(self, held: dict[str, int], died_at: float) -> None:
        while held and time.monotonic() - died_at < RECOVERY_LIMIT_SECONDS:
            with suppress(psycopg.OperationalError):
                rows = self.site.query(
                    "SELECT id::text AS id, attempt, state FROM turns WHERE id = ANY(%s::uuid[])", list(held)
                )
                moved = [row for row in rows if row["attempt"] > held[row["id"]] or _is_over(row["state"])]
                for row in moved:
                    del held[row["id"]]
                    self.recoveries.append(time.monotonic() - died_at)
            time.sleep(0.1)
        self.recoveries += [RECOVERY_LIMIT_SECONDS] * len(held)


def _is_over(state: str) -> bool:
    return state not in ("queued", "running", "waiting")


@contextmanager
def _cut(cut: Callable[[], None], mend: Callable[[], None]) -> Iterator[None]:
    cut()
    try:
        yield
    finally:
        mend()
