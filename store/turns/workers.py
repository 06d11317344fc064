"""Workers as rows: a process is alive while its row says so, and so are the leases it holds.

What stays true: one statement a heartbeat, whatever the number of turns; time is the database's.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, and_, delete, func, or_, select, tuple_, update

from store.database.column_types import clock
from store.database.statements import insert_for
from store.tables import agents, threads, turns, workers
from store.tables.turns import unfinished
from store.turns import attempts
from store.turns.attempts import AttemptOutcome
from store.turns.interrupts import is_interrupted
from store.turns.next_turn import is_alive

#: The policies of agents none of which has one.
NO_POLICIES: Mapping[str, str] = {}
#: Seconds for which the row of a dead worker is kept, for an operator to inspect.
KEEP_DEAD_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class Beat:
    """The answer to a heartbeat."""

    #: False if the worker's row is gone: then it holds nothing any more.
    is_known: bool
    #: The worker is to claim nothing more, and to end after its turns.
    is_drain_requested: bool = False


@dataclass(frozen=True, slots=True)
class HeldThread:
    """A thread whose lease a worker holds, as the database has it."""

    tenant: str
    thread_id: str
    thread_key: int
    fencing_token: int
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
    lease_duration_seconds: float,
    queues: Collection[str] = (),
    file_places: int = 0,
    when_busy: Mapping[str, str] = NO_POLICIES,
) -> None:
    """Enter a process: the agents that it serves (name → version) and the queues that it consumes.

    `file_places` is the number of files that it prepares at once, `when_busy` the policies of agents that have one.
    Running it twice changes nothing.
    """
    entry = insert_for(connection, workers).values(
        id=worker,
        host=host,
        pid=pid,
        agents=dict(serves),
        queues=sorted(queues),
        file_places=file_places,
        started_at=clock(),
        lease_expires_at=clock(plus_seconds=lease_duration_seconds),
        beat_at=clock(),
    )
    beat_columns = {name: entry.excluded[name] for name in ("lease_expires_at", "beat_at")}
    connection.execute(entry.on_conflict_do_update(index_elements=["id"], set_=beat_columns))
    # In the order of their names, so that two workers that start at once cannot wait for each other.
    for name in sorted(serves):
        values = {"name": name, "version": serves[name], "when_busy": when_busy.get(name)}
        new = insert_for(connection, agents).values(**values, registered_at=clock())
        policy = new.excluded.when_busy
        connection.execute(
            new.on_conflict_do_update(
                index_elements=["name"],
                set_={column: new.excluded[column] for column in ("version", "when_busy", "registered_at")},
                where=or_(agents.c.version != new.excluded.version, agents.c.when_busy.is_distinct_from(policy)),
            )
        )


def beat(connection: Connection, worker: str, *, lease_duration_seconds: float) -> Beat:
    """Keep this worker's leases alive, and hear whether it is to be drained."""
    statement = (
        update(workers)
        .where(workers.c.id == worker)
        .values(lease_expires_at=clock(plus_seconds=lease_duration_seconds), beat_at=clock())
        .returning(workers.c.drain_requested_at)
    )
    row = connection.execute(statement).one_or_none()
    return Beat(is_known=row is not None, is_drain_requested=row is not None and row.drain_requested_at is not None)


def show_draining(connection: Connection, worker: str) -> None:
    """Have a worker be shown as one that claims nothing more. Running it twice changes nothing."""
    requested_at = func.coalesce(workers.c.drain_requested_at, clock())
    connection.execute(update(workers).where(workers.c.id == worker).values(drain_requested_at=requested_at))


def undo_crashes(connection: Connection, worker: str) -> int:
    """Uncount the crashes of a worker that was away, not dead, from the turns that it lost; returns how many.

    Running it twice changes nothing.
    """
    of_worker = (turns.c.crashed_worker == worker) & unfinished
    statement = update(turns).where(of_worker).values(crashes=turns.c.crashes - 1, crashed_worker=None)
    turn_ids = connection.execute(statement.returning(turns.c.id)).scalars().all()
    if turn_ids:
        attempts.undo_crashes(connection, worker, turn_ids)
    return len(turn_ids)


def list_held_threads(
    connection: Connection, worker: str, *, idle_threads: Collection[tuple[str, str]] = ()
) -> list[HeldThread]:
    """The threads that this worker owns and whose turns run, by key, with the cancel requests for these.

    Those among `idle_threads`, as tenant and id, are listed whether a turn runs there or not: a lease that is
    kept between two turns leaves no other trace than in its thread's row.
    """
    of_turn = turns.c.thread_key == threads.c.key
    selected = select(
        *(threads.c.tenant, threads.c.id.label("thread_id"), threads.c.key.label("thread_key")),
        *(threads.c.fencing_token, turns.c.id.label("turn_id")),
        or_(turns.c.cancel_requested_at.is_not(None), is_interrupted()).label("is_cancelled"),
    ).where(threads.c.lease_owner == worker)
    # From the turns: an index of owners would have to be written with each claim.
    rows = connection.execute(selected.join(turns, of_turn).where(turns.c.state == "running")).all()
    if idle_threads:
        idle = selected.outerjoin(turns, of_turn & (turns.c.state == "running")).where(
            tuple_(threads.c.tenant, threads.c.id).in_(sorted(idle_threads)), turns.c.id.is_(None)
        )
        rows = [*rows, *connection.execute(idle)]
    return [
        HeldThread(tenant, thread_id, thread_key, fencing_token, turn_id, cancel_requested=bool(is_cancelled))
        for tenant, thread_id, thread_key, fencing_token, turn_id, is_cancelled in sorted(
            rows, key=lambda row: row.thread_key
        )
    ]


def release(connection: Connection, worker: str, held: HeldThread) -> bool:
    """Release a thread that no task of this worker works on any more; queue its turn again."""
    release_result = connection.execute(
        update(threads)
        .where(
            threads.c.key == held.thread_key,
            threads.c.lease_owner == worker,
            threads.c.fencing_token == held.fencing_token,
        )
        .values(lease_owner=None)
    )
    if release_result.rowcount and held.turn_id is not None:
        is_running = and_(turns.c.id == held.turn_id, turns.c.state == "running")
        connection.execute(attempts.insert_ended(is_running, AttemptOutcome.INTERRUPTED, worker=worker))
        connection.execute(
            update(turns)
            .where(is_running)
            .values(state="queued", notified_at=None, interruptions=turns.c.interruptions + 1)
        )
    return release_result.rowcount == 1


def unregister(connection: Connection, worker: str) -> None:
    """Remove a process that stops in good order: release the threads whose turns it runs, delete its row.

    Without that row it holds no thread any more, whatever the thread's own row says.
    """
    for held in list_held_threads(connection, worker):
        release(connection, worker, held)
    connection.execute(delete(workers).where(workers.c.id == worker))


def longest_uptime_seconds(connection: Connection) -> float:
    """Seconds since the start of the oldest worker that is alive; 0 where none is."""
    statement = select(func.min(workers.c.started_at), clock()).where(is_alive(workers.c.id))
    started_at, now = connection.execute(statement).one()
    return 0.0 if started_at is None else float((now - started_at).total_seconds())


def forget_dead(connection: Connection) -> int:
    """Delete the rows of workers that died long ago; returns how many."""
    statement = delete(workers).where(workers.c.lease_expires_at < clock(plus_seconds=-KEEP_DEAD_SECONDS))
    return connection.execute(statement).rowcount
