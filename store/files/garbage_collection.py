"""Garbage collection: the only place that deletes stored bytes because nobody uses them.

A blob that no message has is noted, and when its grace is over it is marked in a transaction of its
own. Then its bytes and its row are deleted under the row's lock, one blob a transaction: whoever is
about to store the same bytes waits for that, or takes the mark away first (`blob_rows.announce`). A
process that dies in between leaves a mark, which the next run finds. Bytes that no row knows get a row,
and leave by the same road.

What stays true: a blob that a message has, or that was made out of one, is never deleted; nothing is
deleted before its grace is over; every step is bounded, and may be run twice or by two at once.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Select, and_, delete, exists, func, not_, or_, select, tuple_, update

from store.database.column_types import DAY, clock, moment_ago
from store.database.statements import insert_for
from store.tables import attachments, blobs, renditions
from store.tables.retention import ARCHIVES, archives, dropped_files

#: Blobs of one transaction.
BATCH = 100
#: Longer than any grace.
LONG_AGO_SECONDS = 100 * 365 * DAY
#: Rows that one run looks at for blobs whose last message went unnoticed.
SCAN = 10_000

#: A blob's tenant and hash.
Address = tuple[str, str]

_address = tuple_(blobs.c.tenant, blobs.c.sha256)
is_used = or_(
    exists().where(attachments.c.tenant == blobs.c.tenant, attachments.c.sha256 == blobs.c.sha256),
    exists().where(renditions.c.tenant == blobs.c.tenant, renditions.c.made_sha256 == blobs.c.sha256),
    # An archive needs no row here; one that got it is not to be deleted because of that.
    and_(blobs.c.tenant == ARCHIVES, exists().where(archives.c.sha256 == blobs.c.sha256)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unused:
    """What garbage collection has before it."""

    #: Blobs that nobody uses and whose grace is over: the next run deletes them.
    due: int = 0
    due_bytes: int = 0
    #: Blobs that nobody uses and that have time left.
    in_grace: int = 0
    in_grace_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Marked:
    """What one batch came to."""

    #: To be deleted now: what an earlier run left marked is in it, too.
    addresses: Sequence[Address] = ()
    #: Blobs that have a message again.
    used: int = 0


def note_unused(connection: Connection, *, after: Address = ("", ""), limit: int = SCAN) -> Address | None:
    """Note since when blobs have no message, in the next `limit` rows behind an address.

    Returns where to go on, or None at the end.
    """
    page = select(blobs.c.tenant, blobs.c.sha256).where(_address > tuple_(*after))
    page = page.order_by(blobs.c.tenant, blobs.c.sha256).limit(limit)
    last = connection.execute(page.offset(limit - 1).limit(1)).one_or_none()
    within = [_address > tuple_(*after)]
    if last is not None:
        within.append(_address <= tuple_(last.tenant, last.sha256))
    unnoted = select(blobs.c.tenant, blobs.c.sha256).where(
        *within, blobs.c.unreferenced_since.is_(None), not_(is_used)
    )
    found = connection.execute(_locked(unnoted)).all()
    if found:
        now = update(blobs).where(_address.in_([tuple(row) for row in found]))
        connection.execute(now.values(unreferenced_since=clock()))
    return None if last is None else (last.tenant, last.sha256)


def mark_due(connection: Connection, *, grace_days: float, limit: int = BATCH) -> Marked:
    """Mark blobs whose grace is over, and forget the grace of those that have a message again."""
    over = blobs.c.unreferenced_since <= moment_ago(days=grace_days)
    due = select(blobs.c.tenant, blobs.c.sha256).where(over).order_by(blobs.c.unreferenced_since)
    found = connection.execute(_locked(due.limit(limit))).all()
    if not found:
        return Marked()
    # In later statements: a message may have come to one of them just before its lock.
    these = _address.in_([tuple(row) for row in found])
    used = connection.execute(
        update(blobs)
        .where(these, is_used)
        .values(unreferenced_since=None)
        .returning(blobs.c.tenant, blobs.c.sha256)
    ).all()
    if used:
        # Others have it: who dropped it has no say any more.
        dropped = tuple_(dropped_files.c.tenant, dropped_files.c.sha256)
        connection.execute(delete(dropped_files).where(dropped.in_([tuple(row) for row in used])))
    marked = connection.execute(
        update(blobs)
        .where(these, not_(is_used))
        .values(state="deleting")
        .returning(blobs.c.tenant, blobs.c.sha256)
    )
    return Marked([(row.tenant, row.sha256) for row in marked], len(used))


def note_dropped(connection: Connection, addresses: Select[tuple[str, str]]) -> None:
    """Begin the grace of blobs that just lost a message. One that has another forgets it again."""
    # In one order for everybody: two that drop the same blobs must not wait for each other.
    these = select(blobs.c.tenant, blobs.c.sha256).where(_address.in_(addresses))
    these = these.order_by(blobs.c.tenant, blobs.c.sha256).with_for_update(key_share=True)
    connection.execute(update(blobs).where(_address.in_(these)).values(unreferenced_since=clock()))


def put_off(connection: Connection, address: Address, *, grace_days: float) -> None:
    """Try a blob whose bytes could not be deleted again in a day: it must not stand in front of others."""
    mine = (blobs.c.tenant == address[0]) & (blobs.c.sha256 == address[1]) & (blobs.c.state == "deleting")
    again = clock(plus_seconds=(1 - grace_days) * DAY)
    connection.execute(update(blobs).where(mine).values(unreferenced_since=again))


def mark_now(connection: Connection, address: Address) -> Collection[str]:
    """Mark a blob that nobody uses, without any grace; returns hashes of what was made out of it.

    They are left without a message. Nothing happens to a blob that is in use. Waits for whoever is just
    giving it to a message.
    """
    tenant, sha256 = address
    mine = (blobs.c.tenant == tenant) & (blobs.c.sha256 == sha256)
    connection.execute(select(blobs.c.sha256).where(mine).with_for_update())
    marked = (
        update(blobs)
        .where(mine, not_(is_used))
        # Should this process die, the next collection finds it at once.
        .values(state="deleting", unreferenced_since=clock(plus_seconds=-LONG_AGO_SECONDS))
    )
    if not connection.execute(marked).rowcount:
        return ()
    of_blob = (renditions.c.tenant == tenant) & (renditions.c.sha256 == sha256)
    made = connection.execute(delete(renditions).where(of_blob).returning(renditions.c.made_sha256))
    return set(made.scalars())


def delete_marked(
    connection: Connection,
    address: Address,
    delete_object: Callable[[str, str], None],
    *,
    waits: bool = False,
) -> bool:
    """Delete a marked blob: its bytes, then its row. False if it is not marked any more, or just in use.

    With `waits`, it waits for whoever has the row at the moment, instead of leaving it to the next run.
    `delete_object(tenant, sha256)` may be called again for bytes that are gone already.
    """
    tenant, sha256 = address
    mine = (blobs.c.tenant == tenant) & (blobs.c.sha256 == sha256) & (blobs.c.state == "deleting")
    lock = select(blobs.c.sha256).where(mine).with_for_update(skip_locked=not waits)
    if not connection.execute(lock).all():
        return False
    # In a later statement: whoever had the lock before may have given it a message.
    if not connection.execute(select(blobs.c.sha256).where(mine, not_(is_used))).all():
        return False
    delete_object(tenant, sha256)
    _hand_down(connection, address)
    connection.execute(delete(blobs).where(mine))
    return True


def _hand_down(connection: Connection, address: Address) -> None:
    """What was made out of a blob has a grace of its own: it says meanwhile who dropped the blob."""
    same = (renditions.c.tenant == dropped_files.c.tenant) & (renditions.c.sha256 == dropped_files.c.sha256)
    whose = [dropped_files.c[name] for name in ("thread_key", "thread_sha256", "user_sha256")]
    made = (
        select(renditions.c.tenant, renditions.c.made_sha256, *whose)
        .select_from(renditions.join(dropped_files, same))
        .where(renditions.c.tenant == address[0], renditions.c.sha256 == address[1])
        .distinct()
    )
    names = ["tenant", "sha256", *(column.name for column in whose)]
    statement = insert_for(connection, dropped_files).from_select(names, made)
    connection.execute(statement.on_conflict_do_nothing())


def enter_unknown(
    connection: Connection, tenant: str, found: Collection[tuple[str, int]]
) -> Sequence[Address]:
    """Of bytes in the file store, by hash and size: give those without a row one, whose grace begins now.

    Returns those that had none.
    """
    rows = [
        {
            "tenant": tenant,
            "sha256": sha256,
            "size": size,
            "media_type": "application/octet-stream",
            # Not `stored`: nobody looked at what they are.
            "state": "pending",
            "created_at": clock(),
            "unreferenced_since": clock(),
        }
        for sha256, size in sorted(found)
    ]
    if not rows:
        return []
    statement = insert_for(connection, blobs).values(rows).on_conflict_do_nothing()
    new = connection.execute(statement.returning(blobs.c.tenant, blobs.c.sha256))
    return [(row.tenant, row.sha256) for row in new]


def known(connection: Connection, tenant: str, hashes: Collection[str]) -> set[str]:
    """Those of the hashes that have a row, as a blob or as a part of an archive."""
    table = archives if tenant == ARCHIVES else blobs
    rows = select(table.c.sha256).where(table.c.sha256.in_(sorted(hashes)))
    if table is blobs:
        rows = rows.where(blobs.c.tenant == tenant)
    return set(connection.execute(rows).scalars())


def unused(connection: Connection, *, grace_days: float) -> Unused:
    """What a run would delete, and what waits. Nothing is changed."""
    is_over = blobs.c.unreferenced_since <= moment_ago(days=grace_days)
    statement = (
        select(is_over.label("is_over"), func.count().label("blobs"), func.sum(blobs.c.size).label("bytes"))
        .where(blobs.c.unreferenced_since.is_not(None), not_(is_used))
        .group_by(is_over)
    )
    found = {bool(row.is_over): row for row in connection.execute(statement)}
    due, waiting = found.get(True), found.get(False)
    return Unused(
        due=due.blobs if due else 0,
        due_bytes=int(due.bytes) if due else 0,
        in_grace=waiting.blobs if waiting else 0,
        in_grace_bytes=int(waiting.bytes) if waiting else 0,
    )


def _locked(statement: Select[tuple[str, str]]) -> Select[tuple[str, str]]:
    # As a whole: a message that is just being sent holds the weakest lock on its blob's row, and keeps it.
    return statement.with_for_update(skip_locked=True, of=blobs)
