"""The rows that act for an erasure's subject: API keys, and schedules.

What stays true: they go before its threads: whoever has such a key would send to them, and a run would make them anew.
"""

from sqlalchemy import ColumnElement, Connection, false, select

from store.erasure.subject import Subject
from store.keys import key_rows
from store.retention.deletion import add_erased_counts
from store.schedules.deletion import delete_of_subject, is_of_subject
from store.tables import api_keys, schedules


def delete_schedules(connection: Connection, erasure_id: str, subject: Subject) -> None:
    """Delete the schedules of the subject: they would send what is erased, and make its threads anew."""
    count = delete_of_subject(connection, subject.tenant, user=subject.user, thread_id=subject.thread_id)
    if count:
        add_erased_counts(connection, erasure_id, {"schedules": count})


def has_schedules(subject: Subject) -> ColumnElement[bool]:
    """Whether the subject has schedules, as a condition."""
    of_subject = is_of_subject(subject.tenant, user=subject.user, thread_id=subject.thread_id)
    return select(schedules.c.key).where(of_subject).exists()


def delete_keys(connection: Connection, erasure_id: str, subject: Subject) -> None:
    """Delete the API keys of a user, or of a whole tenant."""
    count = key_rows.delete_keys(connection, subject.tenant, subject.user)
    if count:
        add_erased_counts(connection, erasure_id, {"api_keys": count})


def has_keys(subject: Subject) -> ColumnElement[bool]:
    """Whether the subject has API keys, as a condition."""
    is_users = api_keys.c.owner == subject.user if subject.user is not None else false()
    return select(api_keys.c.id).where(api_keys.c.tenant == subject.tenant, is_users).exists()
