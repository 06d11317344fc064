"""Workers as rows: a process is alive while its row says so, and so are the leases it holds.

What stays true: one statement a heartbeat, whatever the number of turns; time is the database's.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, select, update

from store.database.column_types import clock
from store.database.statements import insert_for
from store.tables import agents, threads, turns, workers
from store.tables.turns import unfinished
from store.turns.next_turn import is_alive

#: Seconds for which the row of a dead worker is kept, for a person to look at.
KEEP_DEAD_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class Held:
    """A thread that this worker owns, by the database's account."""

    tenant: str
    thread_id: str
    thread_key: int
    fence: int
    #: The turn that runs there.
    turn_id: str | None
    cancel_requested: bool


def register(
    connection: Connection,
    worker: str,
    *,
    host: str,
    pid: int,
    serves: Mapping[str, str],
    lease_seconds: float,
) -> None:
    """Enter a process, and the agents that it serves (name → version). Running it twice changes nothing."""
    entry = insert_for(connection, workers).values(
        id=worker,
        host=host,
        pid=pid,
        agents=dict(serves),
        started_at=clock(),
        until=clock(plus_seconds=lease_seconds),
    )
    connection.execute(
        entry.on_conflict_do_update(index_elements=["id"], set_={"until": entry.excluded.until})
    )
    # In the order of their names, so that two workers that start at once cannot wait for each other.
    for name in sorted(serves):
        new = insert_for(connection, agents).values(name=name, version=serves[name], registered_at=clock())
        connection.execute(
            new.on_conflict_do_update(
                index_elements=["name"],
                set_={"version": new.excluded.version, "registered_at": new.excluded.registered_at},
                where=agents.c.version != new.excluded.version,
            )
        )


def beat(connection: Connection, worker: str, *, lease_seconds: float) -> bool:
    """Keep this worker's leases alive. False if its row is gone: then it holds nothing any more."""
    statement = update(workers).where(workers.c.id == worker).values(until=clock(plus_seconds=lease_seconds))
    return connection.execute(statement).rowcount == 1


def take_back_crashes(connection: Connection, worker: str) -> int:
    """This worker was away, not dead: the turns that it lost stood in no crash. Returns how many.

    Running it twice changes nothing.
    """
    counted = (turns.c.crashed_worker == worker) & unfinished
    lived = update(turns).where(counted).values(crashes=turns.c.crashes - 1, crashed_worker=None)
    return connection.execute(lived).rowcount


def held_by(connection: Connection, worker: str) -> list[Held]:
    """The threads that this worker owns, by key, with the cancel requests for their turns."""
    statement = (
        select(
            threads.c.tenant,
            threads.c.id.label("thread_id"),
            threads.c.key,
            threads.c.fence,
            turns.c.id,
            turns.c.cancel_requested_at,
        )
        .outerjoin(turns, (turns.c.thread_key == threads.c.key) & (turns.c.state == "running"))
        .where(threads.c.owner == worker)
        .order_by(threads.c.key)
    )
    return [
        Held(row.tenant, row.thread_id, row.key, row.fence, row.id, row.cancel_requested_at is not None)
        for row in connection.execute(statement)
    ]


def let_go(connection: Connection, worker: str, held: Held) -> bool:
    """Free a thread that no task of this worker works on any more; its turn is queued again."""
    freed = connection.execute(
        update(threads)
        .where(threads.c.key == held.thread_key, threads.c.owner == worker, threads.c.fence == held.fence)
        .values(owner=None)
    )
    if freed.rowcount and held.turn_id is not None:
        connection.execute(
            update(turns)
            .where(turns.c.id == held.turn_id, turns.c.state == "running")
            .values(state="queued", rung_at=None)
        )
    return freed.rowcount == 1


def leave(connection: Connection, worker: str) -> None:
    """A process stops in good order: what it still holds is handed back, and its row goes."""
    for held in held_by(connection, worker):
        let_go(connection, worker, held)
    connection.execute(delete(workers).where(workers.c.id == worker))


def alive(connection: Connection) -> list[str]:
    """The ids of the workers that live now."""
    statement = select(workers.c.id).where(is_alive(workers.c.id)).order_by(workers.c.id)
    return list(connection.execute(statement).scalars())


def longest_up(connection: Connection) -> float:
    """For how many seconds the oldest worker that lives now has been there; 0 where none does."""
    statement = select(func.min(workers.c.started_at), clock()).where(is_alive(workers.c.id))
    started_at, now = connection.execute(statement).one()
    return 0.0 if started_at is None else float((now - started_at).total_seconds())


def forget_dead(connection: Connection) -> int:
    """Delete the rows of workers that died long ago; returns how many."""
    statement = delete(workers).where(workers.c.until < clock(plus_seconds=-KEEP_DEAD_SECONDS))
    return connection.execute(statement).rowcount


def lives_on(connection: Connection, host: str) -> bool:
    """Whether a worker of this host lives now."""
    here = select(workers.c.id).where(workers.c.host == host, workers.c.until > clock())
    return connection.execute(here.limit(1)).first() is not None
