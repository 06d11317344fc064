"""The schedules of an erasure's subject.

What stays true: they go before its threads, which a run would make anew.
"""

from sqlalchemy import ColumnElement, Connection, select

from store.erasure.subject import Subject
from store.retention.deletion import add_erased_counts
from store.schedules.deletion import delete_of_subject, is_of_subject
from store.tables import schedules


def delete_schedules(connection: Connection, erasure_id: str, subject: Subject) -> None:
    """Delete the schedules of the subject: they would send what is erased, and make its threads anew."""
    count = delete_of_subject(connection, subject.tenant, user=subject.user, thread_id=subject.thread_id)
    if count:
        add_erased_counts(connection, erasure_id, {"schedules": count})


def has_schedules(subject: Subject) -> ColumnElement[bool]:
    """Whether the subject has schedules, as a condition."""
    of_subject = is_of_subject(subject.tenant, user=subject.user, thread_id=subject.thread_id)
    return select(schedules.c.key).where(of_subject).exists()
