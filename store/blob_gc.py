"""Garbage collection of blobs: a blob that no message has is marked, and deleted after a grace of days.

The object goes first, then the row, under the row's lock. So a crash at any point leaves at most an
object or a row too many, which the next run finds.

What stays true: a blob that a message has is never deleted.
"""

from collections.abc import Callable

from sqlalchemy import Connection, delete, exists, not_, select, update

from store.columns import clock
from store.tables import attachments, blobs

#: Seconds of a day.
DAY = 86_400.0
#: Blobs of one transaction.
BATCH = 100

_is_used = exists().where(attachments.c.tenant == blobs.c.tenant, attachments.c.sha256 == blobs.c.sha256)


def mark_unused_blobs(connection: Connection) -> int:
    """Note since when a blob has no message, and forget it where it has one again."""
    connection.execute(
        update(blobs).where(blobs.c.unreferenced_since.is_not(None), _is_used).values(unreferenced_since=None)
    )
    marked = connection.execute(
        update(blobs)
        .where(blobs.c.unreferenced_since.is_(None), not_(_is_used))
        .values(unreferenced_since=clock())
    )
    return marked.rowcount


def delete_unused_blobs(
    connection: Connection,
    delete_object: Callable[[str, str], None],
    *,
    grace_days: float,
    limit: int = BATCH,
) -> int:
    """Delete blobs whose grace is over: the object, then the row, while the row is locked.

    `delete_object(tenant, sha256)` may be called again for an object that is gone already.
    """
    doomed = connection.execute(
        select(blobs.c.tenant, blobs.c.sha256)
        .where(blobs.c.unreferenced_since <= clock(plus_seconds=-grace_days * DAY), not_(_is_used))
        .order_by(blobs.c.sha256)
        .limit(limit)
        # A message that is just being sent holds a lock on its blob's row.
        .with_for_update(skip_locked=True)
    ).all()
    for tenant, sha256 in doomed:
        delete_object(tenant, sha256)
        connection.execute(delete(blobs).where(blobs.c.tenant == tenant, blobs.c.sha256 == sha256))
    return len(doomed)
