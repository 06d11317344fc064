"""Leases and the turns that they are for.

What stays true: a turn is taken from nobody who lives. What a dead worker leaves behind is found only
after the time in which the sweep and the next claim put it right by themselves, and then it is put
where they would find it: the turn is queued again, and the crash counts.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, exists, not_, or_, select, true, update

from store.database.column_types import clock
from store.database.statements import AnyRow
from store.doctor.finding import Check, Finding
from store.doctor.inspection import Look, Scope
from store.doctor.row_check import RowCheck, of_rows, of_thread, thread_ids
from store.tables import threads, turns, workers
from store.tables.turns import unfinished
from store.turns.next_turn import can_start, has_room, heads, is_abandoned, is_alive

#: Living workers whose agents are read, to say whether anybody serves one.
WORKERS_MAX = 1000

_runs_a_turn = (
    exists()
    .where(turns.c.thread_key == threads.c.key, unfinished, turns.c.state == "running")
    .correlate(threads)
)


def _is_quiet(seconds: float) -> ColumnElement[bool]:
    """Nobody claimed, committed or wrote on the thread for so long."""
    return threads.c.updated_at < clock(plus_seconds=-seconds)


def _is_long_dead(scope: Scope) -> ColumnElement[bool]:
    """The owner's row is gone, or ran out so long ago. A thread that nobody owns counts as well."""
    lived = workers.c.until >= clock(plus_seconds=-scope.older_than_seconds)
    return not_(exists().where(workers.c.id == threads.c.owner, lived).correlate(threads))


def _leases(_: Connection, scope: Scope, *, of_the_living: bool) -> Select[Any]:
    owner = is_alive(threads.c.owner) if of_the_living else _is_long_dead(scope)
    return select(*of_thread(), threads.c.owner, threads.c.fence).where(
        threads.c.owner.is_not(None), owner, not_(_runs_a_turn), _is_quiet(scope.older_than_seconds)
    )


def _tell_lease(row: AnyRow, *, detail: str) -> Finding:
    return Finding(ids=thread_ids(row) | {"worker": row.owner}, detail=detail, is_repairable=True, row=row)


def _free(connection: Connection, row: AnyRow) -> str:
    # The token stays: a holder that lives and was only slow may still claim with it.
    connection.execute(update(threads).where(threads.c.key == row.key).values(owner=None))
    return "the lease was given back"


def _left_running(_: Connection, scope: Scope) -> Select[Any]:
    return (
        select(*of_thread(), turns.c.id.label("turn_id"), threads.c.owner)
        .join(threads, turns.c.thread_key == threads.c.key)
        .where(
            unfinished,
            turns.c.state == "running",
            # Nobody may run a dead caller's turn: it needs no queue, but somebody who ends it.
            not_(is_abandoned()),
            _is_long_dead(scope),
            _is_quiet(scope.older_than_seconds),
        )
    )


def _tell_left_running(row: AnyRow) -> Finding:
    ids = thread_ids(row) | {"turn": row.turn_id}
    if row.owner is None:
        return Finding(ids=ids, detail="it runs, and nobody holds its thread", is_repairable=True, row=row)
    ids |= {"worker": row.owner}
    return Finding(ids=ids, detail="it runs, and its worker is long dead", is_repairable=True, row=row)


def _queue_again(connection: Connection, row: AnyRow) -> str:
    """As the next claim would find it; a worker that wakes up after all owns nothing and writes nothing."""
    crashed = {"crashes": turns.c.crashes + 1, "crashed_worker": row.owner} if row.owner is not None else {}
    connection.execute(
        update(turns).where(turns.c.id == row.turn_id).values(state="queued", rung_at=None, **crashed)
    )
    connection.execute(update(threads).where(threads.c.key == row.key).values(owner=None, updated_at=clock()))
    return "the turn was queued again"


def _unclaimed(connection: Connection, scope: Scope) -> Select[Any]:
    long_ago = clock(plus_seconds=-scope.unclaimed_seconds)
    due = [
        or_(time.is_(None), time < long_ago)
        for time in (turns.c.created_at, turns.c.not_before, turns.c.retry_at)
    ]
    # Without workers, whoever comes to the thread next ends it: it waits for that as long as it takes.
    somebody_ends = is_abandoned() if connection.dialect.name == "postgresql" else not_(true())
    waits = or_(and_(turns.c.state == "queued", not_(is_abandoned())), somebody_ends)
    return (
        select(
            *of_thread(),
            turns.c.id.label("turn_id"),
            turns.c.agent,
            turns.c.runner,
            turns.c.crashes,
        )
        .join(threads, turns.c.thread_key == threads.c.key)
        .where(
            turns.c.position.in_(heads()),
            can_start(),
            has_room(scope.tenant_max_running),
            waits,
            or_(threads.c.owner.is_(None), not_(is_alive(threads.c.owner))),
            *due,
            _is_quiet(scope.unclaimed_seconds),
        )
    )


def _find_unclaimed(look: Look) -> Iterator[Finding]:
    for row, served in look.run(partial(_unclaimed_rows, scope=look.scope)):
        ids = thread_ids(row) | {"turn": row.turn_id, "agent": row.agent}
        yield Finding(ids=ids, detail=_why(row, is_served=served), is_repairable=False)


def _unclaimed_rows(connection: Connection, scope: Scope) -> list[tuple[AnyRow, bool]]:
    statement = _unclaimed(connection, scope).order_by(turns.c.position).limit(scope.findings + 1)
    if scope.tenant is not None:
        statement = statement.where(threads.c.tenant == scope.tenant)
    rows = connection.execute(statement).all()
    if not rows:
        return []
    living = select(workers.c.agents).where(workers.c.until > clock()).limit(WORKERS_MAX)
    served = {name for agents in connection.execute(living).scalars() for name in _names(agents)}
    return [(row, row.agent in served) for row in rows]


def _names(agents: Mapping[str, str]) -> Iterator[str]:
    return iter(agents)


def _why(row: AnyRow, *, is_served: bool) -> str:
    if row.runner is not None:
        return "the program that ran it for itself does not go on with it, and nobody ended it"
    if not is_served:
        return f"no living worker serves the agent {row.agent!r}"
    if row.crashes >= 2:
        return f"it stood in {row.crashes} crashes: only a worker on the queue `suspects` takes it"
    return f"workers serve the agent {row.agent!r}, but none came for it: does the sweep run?"


CHECKS: tuple[Check, ...] = (
    of_rows(
        "lease-held-by-nobody",
        RowCheck(
            rows=partial(_leases, of_the_living=False),
            tell=partial(_tell_lease, detail="its owner is dead, and no turn runs"),
            mend=_free,
        ),
        means="a thread is owned by a worker that is dead, and none of its turns runs",
        advice="the lease is given back",
    ),
    of_rows(
        "lease-without-turn",
        RowCheck(
            rows=partial(_leases, of_the_living=True),
            tell=partial(_tell_lease, detail="its owner lives, and no turn runs"),
            mend=_free,
        ),
        means="a living worker owns a thread for long and runs no turn of it",
        advice="the lease is given back",
    ),
    of_rows(
        "turn-without-lease",
        RowCheck(
            rows=_left_running,
            same={"turn_id": turns.c.id},
            tell=_tell_left_running,
            mend=_queue_again,
        ),
        means="a turn runs, and nobody holds its thread, or its worker is long dead",
        advice="the turn is queued again, and the crash counts",
    ),
    Check(
        name="turn-unclaimed",
        means="a turn is due for long, its thread is free, and no worker claims it",
        advice="start a worker that serves the agent; see that beat and the maintenance worker run",
        find=_find_unclaimed,
    ),
)
