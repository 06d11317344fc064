"""Unfinished erasures: which process works on one, and which ones are idle.

What stays true: an erasure is finished once, and changes nothing after that, however many processes
work on it; an idle one is found by the time of its last step.
"""

from dataclasses import dataclass

from sqlalchemy import Connection, select, update

from conversation.errors import ThreadmillError
from store.database.column_types import DAY, clock, moment_ago
from store.database.statements import AnyRow
from store.erasure.subject import Subject
from store.tables.retention import erasures


class ErasureOver(ThreadmillError):
    """Another process has finished this erasure: this step is rolled back."""


class OutOfTime(ThreadmillError):
    """The time for this erasure is over, between two steps: a later run resumes it."""


@dataclass(frozen=True, slots=True)
class UnfinishedErasure:
    """An unfinished erasure that this caller has claimed, to resume it."""

    id: str
    subject: Subject


def claim_erasure(connection: Connection, *, idle_seconds: float) -> UnfinishedErasure | None:
    """Claim the erasure that has been idle for longest, at least `idle_seconds`; None if there is none."""
    is_idle = erasures.c.last_step_at < moment_ago(days=idle_seconds / DAY)
    query = select(erasures).where(erasures.c.finished_at.is_(None), is_idle).order_by(erasures.c.last_step_at)
    row = connection.execute(query.limit(1).with_for_update(skip_locked=True)).one_or_none()
    if row is None:
        return None
    record_work(connection, row.id)
    return UnfinishedErasure(row.id, subject_of(row))


def record_work(connection: Connection, erasure_id: str) -> None:
    """Record that a process works on an erasure. Raises `ErasureOver` if it is finished."""
    is_unfinished = (erasures.c.id == erasure_id) & erasures.c.finished_at.is_(None)
    if not connection.execute(update(erasures).where(is_unfinished).values(last_step_at=clock())).rowcount:
        raise ErasureOver(f"erasure {erasure_id} is finished")


def subject_of(row: AnyRow) -> Subject:
    """The subject of an erasure that is not finished."""
    return Subject(
        tenant=row.tenant,
        thread_id=row.subject_id if row.subject == "thread" else None,
        user=row.subject_id if row.subject == "user" else None,
        whole_tenant=row.subject == "tenant",
    )
