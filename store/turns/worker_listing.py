"""Finding workers, and taking one out: what lives where, what it runs, and which is asked to end.

What stays true: a worker is asked through its own row, which its heartbeat reads, so that this works from any host;
it claims nothing more then, and ends after its turns. A process that runs library calls has a row too, serves no
agent, and cannot be asked.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select, update

from conversation.errors import InvalidInput
from conversation.ids import is_our_id
from conversation.task_contract import TURNS_QUEUE
from conversation.turn import TurnState
from store.database.column_types import clock
from store.database.statements import convert_row
from store.tables import threads, turns, workers

#: Workers that are listed, at most: those that live first.
WORKERS_MAX = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedWorker:
    """A worker of a listing."""

    id: str
    host: str
    pid: int
    #: The agents that it serves: name and version; none of one that runs no turns of others.
    agents: Mapping[str, str]
    #: The queues that it consumes; none of a process that runs library calls.
    queues: Sequence[str]
    started_at: datetime
    #: Its newest heartbeat.
    beat_at: datetime | None
    #: Its leases live until then: it is dead afterwards.
    lease_expires_at: datetime
    #: When it was asked to end after its turns.
    drain_requested_at: datetime | None
    running_turns: int
    #: The database's time when it was listed.
    listed_at: datetime

    @property
    def state(self) -> str:
        """`alive`, `draining`, or `dead`."""
        if not self.is_alive:
            return "dead"
        return "alive" if self.drain_requested_at is None else "draining"

    @property
    def is_alive(self) -> bool:
        return self.lease_expires_at > self.listed_at

    @property
    def dead_seconds(self) -> float:
        """Seconds since its lease expired; negative while it lives."""
        return (self.listed_at - self.lease_expires_at).total_seconds()

    @property
    def served_queues(self) -> Sequence[str]:
        """The queues that it serves: one that names none, and serves agents, runs turns."""
        return self.queues or ([TURNS_QUEUE] if self.agents else [])

    @property
    def is_library(self) -> bool:
        """Whether it runs the calls of a library's user, and no turns of others."""
        return not self.served_queues


def list_workers(
    connection: Connection, *, worker_ids: Collection[str] = (), host: str | None = None
) -> list[ListedWorker]:
    """List workers, those that live first, the oldest first: all, these, or those of a host."""
    running = (
        select(threads.c.lease_owner, func.count().label("turns"))
        .join(turns, turns.c.thread_key == threads.c.key)
        .where(turns.c.state == TurnState.RUNNING)
        .group_by(threads.c.lease_owner)
        .subquery("running")
    )
    running_turns = func.coalesce(running.c.turns, 0).label("running_turns")
    statement = select(workers, running_turns, clock().label("listed_at"))
    statement = statement.outerjoin(running, running.c.lease_owner == workers.c.id)
    if worker_ids:
        statement = statement.where(workers.c.id.in_(sorted(filter(is_our_id, worker_ids))))
    if host is not None:
        statement = statement.where(workers.c.host == host)
    order = (workers.c.lease_expires_at <= clock()), workers.c.started_at, workers.c.id
    rows = connection.execute(statement.order_by(*order).limit(WORKERS_MAX))
    return [convert_row(row, ListedWorker) for row in rows]


def count_by_queue(living: Iterable[ListedWorker]) -> dict[str, int]:
    """Count the workers that serve each queue, by queue."""
    return dict(sorted(Counter(queue for worker in living for queue in worker.served_queues).items()))


def list_silent(listed: Sequence[ListedWorker], *, lease_duration_seconds: float) -> list[ListedWorker]:
    """The workers that died or hang, and that no other has replaced since on their host and queues.

    A process that ended in good order has no row: one that is not renewed any more tells of one that did not.
    """
    living = [worker for worker in listed if worker.is_alive]

    def is_replaced(silent: ListedWorker) -> bool:
        return any(
            (other.host, other.served_queues) == (silent.host, silent.served_queues)
            and (other.started_at - silent.lease_expires_at).total_seconds() >= -lease_duration_seconds
            for other in living
        )

    return [worker for worker in listed if not worker.is_alive and not is_replaced(worker)]


def request_drain(
    connection: Connection, *, worker_ids: Collection[str] = (), host: str | None = None
) -> list[ListedWorker]:
    """Ask these workers, or those of a host, to claim nothing more and to end after their turns; returns them.

    Running it twice changes nothing. Raises `InvalidInput` where one of them is not there, or cannot be asked.
    """
    found = list_workers(connection, worker_ids=worker_ids, host=host)
    living = [worker for worker in found if worker.state != "dead"]
    if host is not None:
        living = [worker for worker in living if worker.agents]
        if not living:
            raise InvalidInput("host", f"{host!r} has no living worker of turns", "see `threadmill workers list`")
    for worker_id in worker_ids:
        _check_drainable(worker_id, {worker.id: worker for worker in living})
    of_living = workers.c.id.in_([worker.id for worker in living])
    requested_at = func.coalesce(workers.c.drain_requested_at, clock())
    connection.execute(update(workers).where(of_living).values(drain_requested_at=requested_at))
    return living


def _check_drainable(worker_id: str, living: Mapping[str, ListedWorker]) -> None:
    if worker_id not in living:
        raise InvalidInput("worker_id", f"no worker {worker_id!r} lives", "see `threadmill workers list`")
    if living[worker_id].is_library:
        problem = f"{worker_id} runs library calls and takes no turns of others"
        raise InvalidInput("worker_id", problem, "end its process: its calls are its own")
    if not living[worker_id].agents:
        problem = f"{worker_id} consumes {', '.join(living[worker_id].queues)} and runs no turns"
        raise InvalidInput("worker_id", problem, "stop its process: what it does is done again by another one")
