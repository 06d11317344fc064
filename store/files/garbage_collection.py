"""Garbage collection: the only module that deletes stored bytes because they are unused.

A blob that no message has is noted, and when its grace is over it is marked in a transaction of its
own. Then its bytes and its row are deleted under the row's lock, one blob a transaction: a transaction
that is about to store the same bytes waits for that, or removes the mark first (`blob_rows.reserve`). A
process that dies in between leaves a mark, which the next run finds. Bytes without a row get a row, and
are deleted in the same way.

What stays true: a blob that a message has, or that is a rendition of one, is never deleted; nothing is
deleted before its grace is over; every step is bounded, and may be run twice or by two at once.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Select, and_, delete, exists, func, not_, or_, select, tuple_, update

from store.database.column_types import DAY, clock, moment_ago
from store.database.sqlite import read_only
from store.database.statements import insert_for
from store.files.blob_rows import Address, blob_address, pending_row
from store.tables import attachments, blobs, renditions
from store.tables.retention import ARCHIVES, archives, dropped_files

#: Blobs of one transaction.
BATCH = 100
#: Longer than any grace.
LONG_AGO_SECONDS = 100 * 365 * DAY
#: Rows that one run scans for blobs whose last message went unnoticed.
SCAN_ROWS = 10_000

is_used = or_(
    exists().where(attachments.c.tenant == blobs.c.tenant, attachments.c.sha256 == blobs.c.sha256),
    exists().where(renditions.c.tenant == blobs.c.tenant, renditions.c.rendition_sha256 == blobs.c.sha256),
    # An archive needs no row here; one that got it is not to be deleted because of that.
    and_(blobs.c.tenant == ARCHIVES, exists().where(archives.c.sha256 == blobs.c.sha256)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnusedBlobs:
    """Counts of the unused blobs that garbage collection has before it."""

    #: Unused blobs whose grace is over: the next run deletes them.
    due: int = 0
    due_bytes: int = 0
    #: Unused blobs whose grace is not over.
    in_grace: int = 0
    in_grace_bytes: int = 0


@dataclass(frozen=True, slots=True)
class MarkedBatch:
    """The blobs that one batch marked, and the number of those in use again."""

    #: To be deleted now: blobs that an earlier run left marked are among them.
    addresses: Sequence[Address] = ()
    #: Blobs that have a message again.
    used: int = 0


def note_unused(connection: Connection, *, after: Address = ("", ""), limit: int = SCAN_ROWS) -> Address | None:
    """Note since when blobs have no message, in the next `limit` rows behind an address.

    Returns the address to go on from, or None at the end.
    """
    page = select(blobs.c.tenant, blobs.c.sha256).where(blob_address > tuple_(*after))
    in_order = page.order_by(blobs.c.tenant, blobs.c.sha256)
    last = connection.execute(in_order.offset(limit - 1).limit(1)).one_or_none()
    if last is not None:
        page = page.where(blob_address <= tuple_(last.tenant, last.sha256))
    unnoted_blobs = page.where(blobs.c.unreferenced_since.is_(None), not_(is_used))
    rows = connection.execute(_with_lock(unnoted_blobs)).all()
    if rows:
        update_statement = update(blobs).where(blob_address.in_([tuple(row) for row in rows]))
        connection.execute(update_statement.values(unreferenced_since=clock()))
    return None if last is None else (last.tenant, last.sha256)


def mark_due(connection: Connection, *, grace_days: float, limit: int = BATCH) -> MarkedBatch:
    """Mark blobs whose grace is over, and forget the grace of those that have a message again."""
    is_over = blobs.c.unreferenced_since <= moment_ago(days=grace_days)
    due = select(blobs.c.tenant, blobs.c.sha256).where(is_over).order_by(blobs.c.unreferenced_since)
    rows = connection.execute(_with_lock(due.limit(limit))).all()
    if not rows:
        return MarkedBatch()
    # In later statements: a message may have come to one of them just before its lock.
    in_batch = blob_address.in_([tuple(row) for row in rows])
    used_rows = connection.execute(
        update(blobs).where(in_batch, is_used).values(unreferenced_since=None).returning(blobs.c.tenant, blobs.c.sha256)
    ).all()
    if used_rows:
        # Other messages have it: it is no longer to be deleted for the thread that dropped it.
        dropped_address = tuple_(dropped_files.c.tenant, dropped_files.c.sha256)
        connection.execute(delete(dropped_files).where(dropped_address.in_([tuple(row) for row in used_rows])))
    marked_rows = connection.execute(
        update(blobs).where(in_batch, not_(is_used)).values(state="deleting").returning(blobs.c.tenant, blobs.c.sha256)
    )
    return MarkedBatch([(row.tenant, row.sha256) for row in marked_rows], len(used_rows))


def note_dropped(connection: Connection, addresses: Select[tuple[str, str]]) -> None:
    """Begin the grace of blobs that just lost a message. One that has another forgets it again."""
    # In one order for all: two transactions that drop the same blobs must not wait for each other.
    locked_blobs = select(blobs.c.tenant, blobs.c.sha256).where(blob_address.in_(addresses))
    locked_blobs = locked_blobs.order_by(blobs.c.tenant, blobs.c.sha256).with_for_update(key_share=True)
    connection.execute(update(blobs).where(blob_address.in_(locked_blobs)).values(unreferenced_since=clock()))


def postpone(connection: Connection, address: Address, *, grace_days: float) -> None:
    """Postpone a blob whose bytes could not be deleted by a day: it must not hold up others."""
    marked_row = (blobs.c.tenant == address[0]) & (blobs.c.sha256 == address[1]) & (blobs.c.state == "deleting")
    retry_at = clock(plus_seconds=(1 - grace_days) * DAY)
    connection.execute(update(blobs).where(marked_row).values(unreferenced_since=retry_at))


def mark_now(connection: Connection, address: Address) -> Collection[str]:
    """Mark an unused blob, without any grace; returns the hashes of its renditions.

    They are left without a message. Nothing happens to a blob that is in use. Waits for a transaction
    that is just giving it to a message.
    """
    tenant, sha256 = address
    blob_row = (blobs.c.tenant == tenant) & (blobs.c.sha256 == sha256)
    connection.execute(select(blobs.c.sha256).where(blob_row).with_for_update())
    mark = (
        update(blobs)
        .where(blob_row, not_(is_used))
        # Should this process die, the next collection finds it at once.
        .values(state="deleting", unreferenced_since=clock(plus_seconds=-LONG_AGO_SECONDS))
    )
    if not connection.execute(mark).rowcount:
        return ()
    of_blob = (renditions.c.tenant == tenant) & (renditions.c.sha256 == sha256)
    rendition_hashes = connection.execute(delete(renditions).where(of_blob).returning(renditions.c.rendition_sha256))
    return set(rendition_hashes.scalars())


def delete_marked(
    connection: Connection, address: Address, delete_object: Callable[[str, str], None], *, waits: bool = False
) -> bool:
    """Delete a marked blob: its bytes, then its row. False if it is not marked any more, or just in use.

    With `waits`, it waits for a transaction that has locked the row, instead of leaving it to the next run.
    `delete_object(tenant, sha256)` may be called again for bytes that are gone already.
    """
    tenant, sha256 = address
    marked_row = (blobs.c.tenant == tenant) & (blobs.c.sha256 == sha256) & (blobs.c.state == "deleting")
    lock = select(blobs.c.sha256).where(marked_row).with_for_update(skip_locked=not waits)
    if not connection.execute(lock).all():
        return False
    # In a later statement: the transaction that had the lock before may have given it a message.
    if not connection.execute(select(blobs.c.sha256).where(marked_row, not_(is_used))).all():
        return False
    delete_object(tenant, sha256)
    _copy_dropped_to_renditions(connection, address)
    connection.execute(delete(blobs).where(marked_row))
    return True


def _copy_dropped_to_renditions(connection: Connection, address: Address) -> None:
    """Note for a blob's renditions who dropped the blob: they have a grace of their own."""
    is_same_blob = (renditions.c.tenant == dropped_files.c.tenant) & (renditions.c.sha256 == dropped_files.c.sha256)
    owner_columns = [dropped_files.c[name] for name in ("thread_key", "thread_sha256", "user_sha256")]
    rendition_rows = (
        select(renditions.c.tenant, renditions.c.rendition_sha256, *owner_columns)
        .select_from(renditions.join(dropped_files, is_same_blob))
        .where(renditions.c.tenant == address[0], renditions.c.sha256 == address[1])
        .distinct()
    )
    names = ["tenant", "sha256", *(column.name for column in owner_columns)]
    statement = insert_for(connection, dropped_files).from_select(names, rendition_rows)
    connection.execute(statement.on_conflict_do_nothing())


def enter_unknown(connection: Connection, tenant: str, objects: Collection[tuple[str, int]]) -> Sequence[Address]:
    """Enter rows for bytes in the file store, by hash and size, that have none; their grace begins now.

    Returns the addresses of these.
    """
    # Not `stored`: the bytes were never examined.
    rows = [pending_row(tenant, sha256, size) for sha256, size in sorted(objects)]
    if not rows:
        return []
    statement = insert_for(connection, blobs).values(rows).on_conflict_do_nothing()
    new_rows = connection.execute(statement.returning(blobs.c.tenant, blobs.c.sha256))
    return [(row.tenant, row.sha256) for row in new_rows]


def load_known_hashes(connection: Connection, tenant: str, hashes: Collection[str]) -> set[str]:
    """Load the hashes, of the given ones, that have a row, as a blob or as a part of an archive."""
    table = archives if tenant == ARCHIVES else blobs
    rows = select(table.c.sha256).where(table.c.sha256.in_(sorted(hashes)))
    if table is blobs:
        rows = rows.where(blobs.c.tenant == tenant)
    return set(connection.execute(rows).scalars())


@read_only
def count_unused(connection: Connection, *, grace_days: float) -> UnusedBlobs:
    """Count the blobs that a run would delete, and those in grace. Nothing is changed."""
    is_over = blobs.c.unreferenced_since <= moment_ago(days=grace_days)
    statement = (
        select(is_over.label("is_over"), func.count().label("blobs"), func.sum(blobs.c.size).label("bytes"))
        .where(blobs.c.unreferenced_since.is_not(None), not_(is_used))
        .group_by(is_over)
    )
    totals = {bool(row.is_over): (row.blobs, int(row.bytes)) for row in connection.execute(statement)}
    due, in_grace = totals.get(True, (0, 0)), totals.get(False, (0, 0))
    return UnusedBlobs(due=due[0], due_bytes=due[1], in_grace=in_grace[0], in_grace_bytes=in_grace[1])


def _with_lock(statement: Select[tuple[str, str]]) -> Select[tuple[str, str]]:
    # As a whole: a message that is just being sent holds the weakest lock on its blob's row, and keeps it.
    return statement.with_for_update(skip_locked=True, of=blobs)
