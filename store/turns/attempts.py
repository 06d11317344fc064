"""Attempts at a turn that ended without ending it: what an operator asks for who sees that a turn takes long.

What stays true: an attempt that ends its turn has no row, so that most turns have none; the turn's own row has its
error. A row is written in the transaction that ends the attempt, and is deleted with its turn.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import ColumnElement, Connection, Insert, and_, insert, literal, null, select, update

from conversation.errors import Fault
from conversation.turn import HandOver, RetryLater, Waiting
from store.database.column_types import clock
from store.database.statements import convert_row
from store.tables import turn_attempts, turns, workers
from store.turns.settle_outcome import error_columns

#: The columns of an attempt's error that its row keeps.
_ERROR_COLUMNS = ("error_kind", "error_message", "error_fault")


class AttemptOutcome(StrEnum):
    """The way in which an attempt ended without ending its turn."""

    #: What it needed was away: the turn was queued again, to be tried later.
    RETRIED = "retried"
    #: The model was not asked, since others had found it away.
    PUT_OFF = "put_off"
    #: The run broke off while its process lived, or the process stopped in good order.
    INTERRUPTED = "interrupted"
    #: The process died.
    CRASHED = "crashed"
    #: The turn was left waiting for a decision.
    WAITED = "waited"
    #: It ended the turn, which was requeued afterwards, to go on where it broke off.
    FAILED = "failed"
    #: As `FAILED`, of a turn that was cancelled.
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class TurnAttempt:
    """An attempt at a turn that ended without ending it."""

    #: The turn's `attempt` then. Attempts that were put off one after the other are one, under the last number.
    number: int
    outcome: AttemptOutcome
    #: The worker that made it, with its host and process; None where that is not known any more.
    worker_id: str | None
    worker_host: str | None
    worker_pid: int | None
    started_at: datetime | None
    #: Of an attempt whose process died: when that was noticed.
    ended_at: datetime
    error_kind: str | None
    error_message: str | None
    error_fault: Fault | None
    #: When the turn was to be tried again; None where that was at once.
    next_try_at: datetime | None


def read_attempts(connection: Connection, turn_id: str) -> list[TurnAttempt]:
    """The attempts at a turn that ended without ending it, in order; none of most turns."""
    statement = (
        select(turn_attempts, workers.c.host.label("worker_host"), workers.c.pid.label("worker_pid"))
        .outerjoin(workers, workers.c.id == turn_attempts.c.worker_id)
        .where(turn_attempts.c.turn_id == turn_id)
        .order_by(turn_attempts.c.number)
    )
    return [
        convert_row(
            row,
            TurnAttempt,
            outcome=AttemptOutcome(row.outcome),
            error_fault=None if row.error_fault is None else Fault(row.error_fault),
        )
        for row in connection.execute(statement)
    ]


def insert_ended(
    condition: ColumnElement[bool], outcome: AttemptOutcome, *, worker: str | None, has_error: bool = False
) -> Insert:
    """The statement that records the end of the newest attempt at each turn for which the condition holds.

    `has_error` says that an interrupted one left its error with its turn.
    """
    columns = {
        "turn_id": turns.c.id,
        "number": turns.c.attempt,
        "worker_id": literal(worker, turn_attempts.c.worker_id.type),
        "started_at": turns.c.attempt_started_at,
        "ended_at": clock(),
        "outcome": literal(outcome.value),
        "next_try_at": turns.c.retry_at if outcome in (AttemptOutcome.RETRIED, AttemptOutcome.PUT_OFF) else null(),
    }
    if outcome not in (AttemptOutcome.INTERRUPTED, AttemptOutcome.CRASHED, AttemptOutcome.WAITED) or has_error:
        columns |= {name: turns.c[name] for name in _ERROR_COLUMNS}
    return insert(turn_attempts).from_select(list(columns), select(*columns.values()).where(condition))


def undo_crashes(connection: Connection, worker: str, turn_ids: Collection[str]) -> None:
    """Say of the newest crashes of a worker that was away, not dead, what they were: runs that broke off."""
    is_undone = and_(
        turn_attempts.c.turn_id.in_(turn_ids),
        turn_attempts.c.worker_id == worker,
        turn_attempts.c.outcome == AttemptOutcome.CRASHED.value,
    )
    connection.execute(update(turn_attempts).where(is_undone).values(outcome=AttemptOutcome.INTERRUPTED.value))


def record_settled(
    connection: Connection, turn_id: str, ending: RetryLater | HandOver | Waiting, *, worker: str
) -> None:
    """Record the attempt that this ending ended, once the turn's row says so, too."""
    if isinstance(ending, RetryLater) and ending.is_put_off and _extend_put_off(connection, turn_id, ending, worker):
        return
    has_error = not isinstance(ending, Waiting) and ending.error is not None
    connection.execute(insert_ended(turns.c.id == turn_id, _outcome_of(ending), worker=worker, has_error=has_error))


def _outcome_of(ending: RetryLater | HandOver | Waiting) -> AttemptOutcome:
    if isinstance(ending, Waiting):
        return AttemptOutcome.WAITED
    if isinstance(ending, HandOver):
        return AttemptOutcome.INTERRUPTED
    return AttemptOutcome.PUT_OFF if ending.is_put_off else AttemptOutcome.RETRIED


def _extend_put_off(connection: Connection, turn_id: str, ending: RetryLater, worker: str) -> bool:
    """Make this attempt one with those before it, if the last of them was put off as well."""
    number, retry_at = (
        select(column).where(turns.c.id == turn_id).scalar_subquery() for column in (turns.c.attempt, turns.c.retry_at)
    )
    error_values = error_columns(ending.error)
    statement = (
        update(turn_attempts)
        .where(
            turn_attempts.c.turn_id == turn_id,
            turn_attempts.c.number == number - 1,
            turn_attempts.c.outcome == AttemptOutcome.PUT_OFF.value,
        )
        .values(number=number, worker_id=worker, ended_at=clock(), next_try_at=retry_at)
        .values({name: error_values[name] for name in _ERROR_COLUMNS})
    )
    return connection.execute(statement).rowcount == 1
