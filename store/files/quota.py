"""The quota of a tenant: how many bytes of files it may have, where THREADMILL_TENANT_MAX_BYTES says so.

What stays true: two transactions at once never count on the same free bytes.
"""

from collections.abc import Collection

from sqlalchemy import Connection, func, literal, select

from conversation.errors import LimitReached
from store.database.statements import serialize_transactions
from store.tables import blobs, uploads


def check_quota(
    connection: Connection,
    tenant: str,
    size: int,
    *,
    max_bytes: int,
    excluded_hashes: Collection[str] = (),
    with_uploads: bool = False,
) -> None:
    """Lock the tenant's quota until the transaction ends; no statement where `max_bytes` is 0.

    `size` is that of the bytes to come, `excluded_hashes` are theirs, which are not counted twice.
    `with_uploads` counts promised uploads, too. Raises `LimitReached`.
    """
    if not max_bytes:
        return
    serialize_transactions(connection, f"files of {tenant}")
    stored_bytes = select(func.coalesce(func.sum(blobs.c.size), 0)).where(
        blobs.c.tenant == tenant, blobs.c.sha256.not_in(excluded_hashes)
    )
    promised_bytes = select(func.coalesce(func.sum(uploads.c.size), 0)).where(
        uploads.c.tenant == tenant, uploads.c.completed_at.is_(None)
    )
    total_bytes = stored_bytes.scalar_subquery() + (promised_bytes.scalar_subquery() if with_uploads else literal(0))
    usage = connection.execute(select(total_bytes)).scalar_one()
    if usage + size > max_bytes:
        raise LimitReached(
            f"tenant: {tenant!r} has {usage} bytes of files, and {size} more are above the {max_bytes} of "
            "THREADMILL_TENANT_MAX_BYTES; delete threads, or raise it"
        )
