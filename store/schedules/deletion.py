"""Deletion of schedules: with the thread, the user or the tenant whose they are, and of those that ended long ago.

What stays true: no schedule brings a thread back that somebody had deleted or erased; retention, which deletes what is
old, leaves schedules alone: their next run makes the thread anew.
"""

from sqlalchemy import ColumnElement, Connection, delete, select

from store.database.column_types import moment_ago
from store.tables import schedules

#: Rows of one batch.
BATCH = 1_000


def delete_of_subject(connection: Connection, tenant: str, *, user: str | None, thread_id: str | None) -> int:
    """Delete the schedules of an erased user, of a thread, or of a whole tenant; returns how many."""
    return _delete(connection, is_of_subject(tenant, user=user, thread_id=thread_id))


def is_of_subject(tenant: str, *, user: str | None, thread_id: str | None) -> ColumnElement[bool]:
    """The condition that a schedule is a user's, a thread's, or, where neither is named, the tenant's."""
    of_tenant = schedules.c.tenant == tenant
    if user is not None:
        return of_tenant & (schedules.c.owner == user)
    return of_tenant if thread_id is None else of_tenant & (schedules.c.thread_id == thread_id)


def purge_ended(connection: Connection, *, days: float) -> int:
    """Delete some schedules that ended so many days ago; returns how many, 0 at the end."""
    if days == 0:
        return 0
    is_old = (schedules.c.state == "ended") & (schedules.c.updated_at < moment_ago(days=days))
    keys = select(schedules.c.key).where(is_old).limit(BATCH)
    return _delete(connection, schedules.c.key.in_(keys.scalar_subquery()))


def _delete(connection: Connection, condition: ColumnElement[bool]) -> int:
    return connection.execute(delete(schedules).where(condition)).rowcount
