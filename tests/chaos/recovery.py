"""How long the turns of a killed worker wait for another one.

What stays true: a turn counts if the worker's death found it running under the worker's lease, as the
database says after the death; its time ends when the database shows a further claim of it, or its end. One
that was running in a crash before goes to quarantine, where turns run one by one: its time is not measured.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from statistics import quantiles

import psycopg

from tests.chaos.site import LEASE_DURATION_SECONDS, SWEEP_INTERVAL_SECONDS, Site

#: Seconds beyond lease and sweep in which a dead worker's turn is claimed again.
MARGIN_SECONDS = 5.0
BOUND_SECONDS = LEASE_DURATION_SECONDS + SWEEP_INTERVAL_SECONDS + MARGIN_SECONDS
#: Seconds after which a dead worker's turns count as never taken over.
LIMIT_SECONDS = 120.0
#: Seconds to wait for a worker to have something to lose.
BUSY_SECONDS = 5.0
#: Seconds between two looks: as much longer a time may seem than it was.
LOOK_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Takeovers:
    """The times of recovery that were seen at one site, in seconds, one for each turn."""

    site: Site
    seconds: list[float] = field(default_factory=list)

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Around a worker's death: waits until it has turns, and after its death until all go on."""
        worker = self._worker(name)
        give_up_at = time.monotonic() + BUSY_SECONDS
        while not self._held_by(worker) and time.monotonic() < give_up_at:
            time.sleep(LOOK_SECONDS)
        died_at = time.monotonic()
        yield
        self._see_taken_over(self._held_by(worker), died_at)

    def quantile(self, percent: int) -> float:
        """In seconds; 0 where nobody had to be taken over."""
        if len(self.seconds) < 2:
            return max(self.seconds, default=0.0)
        return quantiles(self.seconds, n=100, method="inclusive")[percent - 1]

    def _worker(self, name: str) -> str:
        """The id under which the program's process is registered."""
        rows = self.site.query(
            "SELECT id::text AS id FROM workers WHERE pid = %s ORDER BY started_at DESC LIMIT 1",
            self.site.programs[name].pid,
        )
        return str(rows[0]["id"]) if rows else ""

    def _held_by(self, worker: str) -> dict[str, int]:
        """The running turns of a worker, each with the number of its attempt."""
        rows = self.site.query(
            "SELECT r.id::text AS id, r.attempt FROM turns r JOIN threads t ON t.key = r.thread_key "
            "WHERE t.lease_owner::text = %s AND r.state = 'running' AND r.crashes = 0",
            worker,
        )
        return {row["id"]: row["attempt"] for row in rows}

    def _see_taken_over(self, held: dict[str, int], died_at: float) -> None:
        while held and time.monotonic() - died_at < LIMIT_SECONDS:
            with suppress(psycopg.OperationalError):
                rows = self.site.query(
                    "SELECT id::text AS id, attempt, state FROM turns WHERE id = ANY(%s::uuid[])", list(held)
                )
                moved = [row for row in rows if row["attempt"] > held[row["id"]] or _is_over(row["state"])]
                for row in moved:
                    del held[row["id"]]
                    self.seconds.append(time.monotonic() - died_at)
            time.sleep(LOOK_SECONDS)
        self.seconds.extend([LIMIT_SECONDS] * len(held))


def _is_over(state: str) -> bool:
    return state not in ("queued", "running")
