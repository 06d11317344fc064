"""The end of deliveries: those that are old enough, and those whose webhook is gone.

What stays true: each statement deletes a bounded number, so that nobody waits for it.
"""

from sqlalchemy import Connection, and_, delete, exists, or_, select

from store.database.column_types import moment_ago
from store.tables import webhook_deliveries, webhooks

#: Deliveries of one statement.
BATCH = 1000


def delete_old(connection: Connection, *, retention_days: float) -> int:
    """Delete deliveries that were made, or are dead, for so long; 0 days means none. Returns how many."""
    if not retention_days:
        return 0
    old = webhook_deliveries.alias("old_deliveries")
    keys = select(old.c.key).where(old.c.finished_at < moment_ago(days=retention_days))
    return _delete(connection, keys.order_by(old.c.finished_at).limit(BATCH))


def delete_unwanted(connection: Connection, *, retention_days: float) -> int:
    """Delete deliveries that nobody gets: their webhook is gone, or has been disabled for so long.

    Returns how many.
    """
    old = webhook_deliveries.alias("old_deliveries")
    is_known = exists().where(webhooks.c.id == old.c.webhook_id)
    is_disabled = exists().where(webhooks.c.id == old.c.webhook_id, webhooks.c.state == "disabled")
    is_old = old.c.created_at < moment_ago(days=retention_days)
    unwanted = or_(~is_known, and_(is_disabled, is_old, old.c.state == "pending")) if retention_days else ~is_known
    return _delete(connection, select(old.c.key).where(unwanted).limit(BATCH))


def _delete(connection: Connection, keys: object) -> int:
    of_page = webhook_deliveries.c.key.in_(keys.scalar_subquery())  # type: ignore[attr-defined]
    return connection.execute(delete(webhook_deliveries).where(of_page)).rowcount
