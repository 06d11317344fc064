"""The workers as an operator asks about them: which live, which queues they serve, which fell silent.

What stays true: a process that ended in good order has no row, so that a row that is not renewed any more tells of one
that hangs, or was killed.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select

from conversation.task_contract import TURNS_QUEUE
from store.database.column_types import clock
from store.tables import workers

#: Rows that are read, the newest heartbeats first.
WORKERS_MAX = 1_000


@dataclass(frozen=True, slots=True)
class WorkerState:
    """A worker's process, as its row has it."""

    id: str
    host: str
    pid: int
    queues: tuple[str, ...]
    started_at: datetime
    lease_expires_at: datetime
    #: Seconds since its lease expired; negative while it lives.
    dead_seconds: float

    @property
    def is_alive(self) -> bool:
        return self.dead_seconds < 0


def list_worker_states(connection: Connection) -> list[WorkerState]:
    """The workers that live, and those that fell silent lately; without library processes."""
    newest = select(workers, clock().label("now")).order_by(workers.c.lease_expires_at.desc()).limit(WORKERS_MAX)
    states = []
    for row in connection.execute(newest):
        # One that says nothing of its queues, and serves agents, runs turns.
        queues = tuple(row.queues) or ((TURNS_QUEUE,) if row.agents else ())
        if queues:
            dead_seconds = (row.now - row.lease_expires_at).total_seconds()
            times = row.started_at, row.lease_expires_at
            states.append(WorkerState(row.id, row.host, row.pid, queues, *times, dead_seconds))
    return states


def count_living(states: Sequence[WorkerState]) -> dict[str, int]:
    """The number of living workers that serve each queue, by queue."""
    return dict(sorted(Counter(queue for state in states if state.is_alive for queue in state.queues).items()))


def list_silent(states: Sequence[WorkerState], *, lease_duration_seconds: float) -> list[WorkerState]:
    """The workers that died or hang, and that no other has replaced since on their host and queues."""
    living = [state for state in states if state.is_alive]

    def is_replaced(silent: WorkerState) -> bool:
        return any(
            (other.host, other.queues) == (silent.host, silent.queues)
            and (other.started_at - silent.lease_expires_at).total_seconds() >= -lease_duration_seconds
            for other in living
        )

    return [state for state in states if not state.is_alive and not is_replaced(state)]
