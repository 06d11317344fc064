"""Turns that wait for an agent which no living worker serves: it was renamed, or removed.

What stays true: such a turn is seen at once. It can be cancelled, or given to another agent; if it must end, the
sweep ends it, whatever workers there are.
"""

from collections.abc import Collection
from dataclasses import replace
from functools import cache

from sqlalchemy import ColumnElement, Connection, Select, and_, func, not_, or_, select

from conversation.turn import Failed, RefusedTurn, TurnError
from store.database.column_types import clock, moment_now
from store.database.sqlite import read_only
from store.tables import threads, turns, workers
from store.tables.turns import unfinished
from store.turns.children import Kin, lock_parents
from store.turns.claims import ClaimRequest, claim
from store.turns.next_turn import can_start, is_abandoned, is_alive, is_head, must_end_at
from store.turns.settle import settle
from store.turns.unreadable import claim_unreadable

#: Living workers whose agents are read.
WORKERS_MAX = 1_000


@read_only
def list_served_agents(connection: Connection) -> frozenset[str]:
    """The names of the agents that some living worker serves."""
    living_workers = select(workers.c.agents).where(workers.c.lease_expires_at > clock()).limit(WORKERS_MAX)
    return frozenset(name for agents in connection.execute(living_workers).scalars() for name in agents)


def is_unserved(served_agents: Collection[str]) -> ColumnElement[bool]:
    """Whether a turn is for workers, and none of these agents is its own."""
    return and_(unfinished, turns.c.local_process_id.is_(None), turns.c.agent.not_in(sorted(served_agents)))


@read_only
def count_unserved(connection: Connection, tenant: str) -> dict[str, int]:
    """The number of a tenant's turns that wait for an agent that nobody serves, by agent."""
    statement = (
        select(turns.c.agent, func.count().label("turns"))
        .where(turns.c.tenant == tenant, is_unserved(list_served_agents(connection)))
        .group_by(turns.c.agent)
        .order_by(turns.c.agent)
    )
    return {row.agent: row.turns for row in connection.execute(statement)}


def find_unserved(connection: Connection, turn_ids: Collection[str]) -> frozenset[str]:
    """The ids among these whose turns wait for an agent that nobody serves."""
    statement = select(turns.c.id).where(turns.c.id.in_(turn_ids), is_unserved(list_served_agents(connection)))
    return frozenset(connection.execute(statement).scalars())


def list_overdue(connection: Connection, *, limit: int) -> list[tuple[str, str]]:
    """The threads, as tenant and id, whose head must end while no living worker holds them."""
    return [(tenant, thread_id) for tenant, thread_id in connection.execute(_select_overdue().limit(limit))]


@cache
def _select_overdue() -> Select[str, str]:
    of_thread = threads.c.key == turns.c.thread_key
    is_free = or_(threads.c.lease_owner.is_(None), not_(is_alive(threads.c.lease_owner)))
    is_for_workers = or_(turns.c.local_process_id.is_(None), is_abandoned())
    return (
        # Threads by subqueries of one value: a join is planned as if a third of all turns were overdue, and reads
        # every thread.
        select(turns.c.tenant, select(threads.c.id).where(of_thread).scalar_subquery())
        # That they are unfinished is said by `can_start`: said twice, it is planned as if next to none were, and all of
        # them are read.
        .where(must_end_at <= moment_now(), can_start(), is_for_workers, is_head())
        .where(select(is_free).where(of_thread).scalar_subquery())
        .order_by(must_end_at)
    )


def end_overdue(
    connection: Connection, tenant: str, thread_id: str, *, sweeper: str, error: TurnError | None = None
) -> RefusedTurn | None:
    """End the head of a thread if it must end; returns the turn. With `error`, as one that cannot be read.

    The sweep publishes what goes on with its end.
    """
    # Before the thread's own row: rows are locked from the parent to the child.
    of_thread = select(threads.c.key).where(threads.c.tenant == tenant, threads.c.id == thread_id)
    lock_parents(connection, select(turns.c.id).where(turns.c.thread_key.in_(of_thread), unfinished))
    claimant = ClaimRequest(worker=sweeper, agents={}, runs_quarantine=True)
    if error is None:
        outcome = claim(connection, tenant, thread_id, claimant)
    else:
        outcome = claim_unreadable(connection, tenant, thread_id, claimant, error)
    if not isinstance(outcome, RefusedTurn):
        return None
    if error is not None:
        outcome = replace(outcome, ending=Failed(error=error))
    kin = Kin.of(outcome, outcome.ending)
    settle(connection, outcome.lease, outcome.id, outcome.ending, release=True, kin=kin, mark_notified=False)
    return outcome
