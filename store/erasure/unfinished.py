"""Erasures that were begun and are not finished: who works on one, and which ones nobody does.

What stays true: an erasure is finished once, and changes nothing after that, however many work on it;
one that nobody works on is found by the time of its last step.
"""

from dataclasses import dataclass

from sqlalchemy import Connection, select, update

from conversation.errors import ThreadmillError
from store.database.column_types import DAY, clock, moment_ago
from store.database.statements import AnyRow
from store.erasure.subject import Subject
from store.tables.retention import erasures


class ErasureOver(ThreadmillError):
    """Somebody else has finished this erasure: what this step did is rolled back."""


class OutOfTime(ThreadmillError):
    """The time for this erasure is over, between two steps: somebody takes it up later."""


@dataclass(frozen=True, slots=True)
class Unfinished:
    """An erasure that is this caller's to go on with."""

    id: str
    subject: Subject


def take_up(connection: Connection, *, idle_seconds: float) -> Unfinished | None:
    """The erasure that nobody has worked on for longest, if for so long; for others it is at work now."""
    idle = erasures.c.worked_at < moment_ago(days=idle_seconds / DAY)
    longest = select(erasures).where(erasures.c.finished_at.is_(None), idle).order_by(erasures.c.worked_at)
    row = connection.execute(longest.limit(1).with_for_update(skip_locked=True)).one_or_none()
    if row is None:
        return None
    note_work(connection, row.id)
    return Unfinished(row.id, subject_of(row))


def note_work(connection: Connection, erasure_id: str) -> None:
    """Somebody works on it. Raises `ErasureOver`."""
    going_on = (erasures.c.id == erasure_id) & erasures.c.finished_at.is_(None)
    if not connection.execute(update(erasures).where(going_on).values(worked_at=clock())).rowcount:
        raise ErasureOver(f"erasure {erasure_id} is finished")


def subject_of(row: AnyRow) -> Subject:
    """Whom an erasure that is not finished is about."""
    return Subject(
        tenant=row.tenant,
        thread_id=row.named if row.subject == "thread" else None,
        user=row.named if row.subject == "user" else None,
        everything=row.subject == "tenant",
        user_key=row.user_key,
    )
