"""Room for files: how many bytes a tenant may have, where THREADMILL_TENANT_MAX_BYTES says so.

What stays true: two at once never take the same room.
"""

from collections.abc import Collection

from sqlalchemy import Connection, func, literal, select

from conversation.errors import LimitReached
from store.database.statements import one_at_a_time
from store.tables import blobs, uploads


def check_room(
    connection: Connection,
    tenant: str,
    new: int,
    *,
    max_bytes: int,
    besides: Collection[str] = (),
    with_uploads: bool = False,
) -> None:
    """Hold the tenant's room until the transaction ends; no statement where `max_bytes` is 0.

    `new` are the bytes that come, `besides` the hashes that they have. `with_uploads` counts what clients
    were promised to put, too. Raises `LimitReached`.
    """
    if not max_bytes:
        return
    one_at_a_time(connection, f"files of {tenant}")
    stored = select(func.coalesce(func.sum(blobs.c.size), 0)).where(
        blobs.c.tenant == tenant, blobs.c.sha256.not_in(besides)
    )
    promised = select(func.coalesce(func.sum(uploads.c.size), 0)).where(
        uploads.c.tenant == tenant, uploads.c.completed_at.is_(None)
    )
    counted = stored.scalar_subquery() + (promised.scalar_subquery() if with_uploads else literal(0))
    used = connection.execute(select(counted)).scalar_one()
    if used + new > max_bytes:
        raise LimitReached(
            f"tenant: {tenant!r} has {used} bytes of files, and {new} more are above the {max_bytes} of "
            "THREADMILL_TENANT_MAX_BYTES; delete threads, or raise it"
        )
