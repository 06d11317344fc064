"""Retention: the only place that deletes what was said. Read this before you change a line of it.

Threads go whole, with everything that belongs to them; each deletion leaves a row in `audit`. Their
blobs stay: another message may have the same bytes; `blob_gc` takes those that nobody has.

What stays true: a thread under legal hold, or with a turn that is not finished, is never deleted.
"""

from sqlalchemy import Connection, delete, exists, insert, not_, select

from store.columns import clock
from store.heads import unfinished
from store.tables import audit, threads, turns

#: Seconds of a day.
DAY = 86_400.0
#: Threads of one transaction.
BATCH = 100


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


def _now(connection: Connection) -> object:
    return connection.execute(select(clock())).scalar_one()
