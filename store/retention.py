"""Retention: the only place that deletes what was said. Read this before you change a line of it.

Threads go first, whole, with everything that belongs to them; each deletion leaves a row in
`audit`. Their blobs stay: another message may have the same bytes. A blob that no message has is
marked, and only after a grace of days is the object deleted, and then its row, under the row's
lock. So a crash at any point leaves at most an object or a row too many, which the next run finds.

What stays true: a thread under legal hold, or with a turn that is not finished, is never deleted;
a blob that a message has is never deleted.
"""

from collections.abc import Callable

from sqlalchemy import Connection, delete, exists, insert, not_, or_, select, update

from store.columns import clock
from store.heads import unfinished
from store.tables import attachments, audit, blobs, renditions, threads, turns

#: Seconds of a day.
DAY = 86_400.0
#: Threads or blobs of one transaction.
BATCH = 100

_is_attached = exists().where(attachments.c.tenant == blobs.c.tenant, attachments.c.sha256 == blobs.c.sha256)
_is_made = exists().where(renditions.c.tenant == blobs.c.tenant, renditions.c.made_sha256 == blobs.c.sha256)
#: A rendition goes after what it was made of: by its own grace.
_is_used = or_(_is_attached, _is_made)


def delete_old_threads(connection: Connection, *, days: float, limit: int = BATCH) -> int:
    """Delete threads that nobody changed for so many days; returns how many. Run it until it gives 0."""
    busy = exists().where(turns.c.thread_key == threads.c.key, unfinished)
    old = (
        select(threads.c.key)
        .where(threads.c.updated_at < clock(plus_seconds=-days * DAY), not_(threads.c.legal_hold), not_(busy))
        .order_by(threads.c.key)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    keys = connection.execute(old).scalars().all()
    if not keys:
        return 0
    gone = connection.execute(
        delete(threads)
        .where(threads.c.key.in_(keys))
        .returning(threads.c.tenant, threads.c.id, threads.c.last_seq)
    ).all()
    connection.execute(
        insert(audit),
        [
            {
                "tenant": row.tenant,
                "thread_id": row.id,
                "action": "retention.thread_deleted",
                "details": {"last_seq": row.last_seq, "days": days},
                "created_at": _now(connection),
            }
            for row in gone
        ],
    )
    return len(gone)


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


def _now(connection: Connection) -> object:
    return connection.execute(select(clock())).scalar_one()
