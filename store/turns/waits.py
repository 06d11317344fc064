"""Why a turn does not run: one reason for a turn, in the order in which a claim would ask.

What stays true: a reason is what a claim would refuse the turn for now; the words for people are the command line's.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Connection, func, select

from conversation.turn import TurnState
from store.database.column_types import clock
from store.database.statements import AnyRow
from store.tables import turns, workers
from store.turns.next_turn import head_of
from store.turns.unserved import list_served_agents


class WaitReason(StrEnum):
    """The reason for which a turn that has not ended is not at work."""

    #: It waits for a decision, an answer or a client's result.
    DECISION = "decision"
    #: It was sent for a later time.
    LATER = "later"
    #: What it needs is away: it is tried again.
    RETRY = "retry"
    #: Another turn of its thread comes first.
    BEHIND = "behind"
    #: Only the process that made it may run it.
    LOCAL = "local"
    #: No living worker serves its agent.
    UNSERVED = "unserved"
    #: Its tenant runs as many turns as it may.
    TENANT_LIMIT = "tenant_limit"
    #: Nothing is in its way: the next free worker takes it.
    WORKER = "worker"
    #: Its worker does not answer: another one takes it over.
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Wait:
    """The reason for which a turn waits."""

    reason: WaitReason
    #: When it is over, where that is known.
    until: datetime | None = None
    #: The turn that comes first.
    turn_id: str | None = None
    #: The model that is away: once it is back, the wait is over sooner.
    model: str | None = None


def explain_wait(connection: Connection, row: AnyRow, *, tenant_max_running: int = 0) -> Wait | None:
    """The reason for which a turn waits; None of one that runs or has ended. The row is of `select_listed`."""
    now = row.listed_at
    if TurnState(row.state).is_final:
        return None
    if row.state == TurnState.RUNNING:
        return None if _is_alive(connection, row.lease_owner) else Wait(WaitReason.LOST)
    if row.state == TurnState.WAITING:
        return Wait(WaitReason.DECISION, until=row.wait_expires_at)
    if row.attempt == 0 and row.not_before is not None and row.not_before > now:
        return Wait(WaitReason.LATER, until=row.not_before)
    if row.retry_at is not None and row.retry_at > now:
        return Wait(WaitReason.RETRY, until=row.retry_at, model=model_of_breaker(row.waits_for))
    return _explain_due(connection, row, tenant_max_running)


def model_of_breaker(key: str | None) -> str | None:
    """The model of a breaker's key, which has a hash of its account behind it."""
    return None if key is None else key.rpartition(":")[0]


def _explain_due(connection: Connection, row: AnyRow, tenant_max_running: int) -> Wait:
    is_head = (turns.c.thread_key == row.thread_key) & (turns.c.arrival_seq == head_of(row.thread_key))
    head_id = connection.execute(select(turns.c.id).where(is_head)).scalar_one_or_none()
    if head_id is not None and head_id != row.id:
        return Wait(WaitReason.BEHIND, turn_id=head_id)
    if row.local_process_id is not None:
        return Wait(WaitReason.LOCAL)
    if row.agent not in list_served_agents(connection):
        return Wait(WaitReason.UNSERVED)
    if tenant_max_running:
        of_tenant = turns.c.tenant == row.tenant, turns.c.state == TurnState.RUNNING
        running = connection.execute(select(func.count()).where(*of_tenant)).scalar_one()
        if running >= tenant_max_running:
            return Wait(WaitReason.TENANT_LIMIT)
    return Wait(WaitReason.WORKER)


def _is_alive(connection: Connection, worker_id: str | None) -> bool:
    living_worker = select(workers.c.id).where(workers.c.id == worker_id, workers.c.lease_expires_at > clock())
    return connection.execute(living_worker).first() is not None
