"""Which of a row's messages others share, and what becomes of it when nobody does any more.

A branch or a fork reads the messages of the rows that its lineage names, each up to a seq, from its own cutoff on.
A deletion of a row passes over what others read; when one of them ends, or its cutoff has passed, the deletion of the
rows that it read is opened again (`release`), and ends what is left. A row that nobody reads, and that was deleted
before (`deleted_at`), goes then.

What stays true: no message that a thread or branch shows is deleted, whoever's deletion comes to it; and what was to
be deleted is, as soon as the last that showed it is gone. Both hold after a crash, since the transaction that ends the
reading opens the deletion again.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, and_, exists, func, not_, or_, select, true, update

from store.database.column_types import clock
from store.database.statements import AnyRow, insert_for
from store.lineage import Lineage
from store.tables import messages, threads
from store.tables.retention import pending_deletions

#: The policy of a deletion that was opened again, as the audit has it.
RELEASED = {"field": "shared"}


@dataclass(frozen=True, slots=True, order=True)
class Range:
    """Seqs behind `after_seq`, up to and with `to_seq`."""

    after_seq: int
    to_seq: int


def is_shared(key: int) -> ColumnElement[bool]:
    """Whether rows that are still stored were branched from this one."""
    child = threads.alias("child")
    return exists().where(child.c.parent_key == key)


def list_readers(connection: Connection, key: int) -> Sequence[AnyRow]:
    """The rows, below this one in the tree of branches, that may read its messages; deleted ones are not among them.

    As `after_seq`, where each begins to read: of one whose cutoff has moved, where it stood before, until all below
    is deleted, for a legal hold moves it back.
    """
    below = select(threads.c.key).where(threads.c.parent_key == key).cte("below", recursive=True)
    below = below.union_all(select(threads.c.key).join(below, threads.c.parent_key == below.c.key))
    pending = pending_deletions
    after_seq = func.coalesce(pending.c.cut_before, threads.c.history_starts_after).label("after_seq")
    statement = (
        select(threads.c.key, threads.c.lineage, after_seq)
        .join(below, below.c.key == threads.c.key)
        .outerjoin(pending, pending.c.thread_key == threads.c.key)
        .where(threads.c.deleted_at.is_(None))
    )
    return connection.execute(statement.order_by(threads.c.key)).all()


def list_shared_ranges(connection: Connection, key: int) -> list[Range]:
    """The ranges of a row's own messages that others read: ascending, and apart from each other."""
    ranges = []
    for reader in list_readers(connection, key):
        part = next((each for each in Lineage.of(reader).parts if each.thread_key == key), None)
        if part is not None:
            ranges.append(Range(max(part.after_seq, reader.after_seq), part.to_seq))
    return merge(ranges)


def merge(ranges: Sequence[Range]) -> list[Range]:
    """Join ranges that overlap or meet, and leave out empty ones."""
    merged: list[Range] = []
    for each in sorted(one for one in ranges if one.after_seq < one.to_seq):
        if merged and each.after_seq <= merged[-1].to_seq:
            merged[-1] = Range(merged[-1].after_seq, max(merged[-1].to_seq, each.to_seq))
        else:
            merged.append(each)
    return merged


def is_in(ranges: Sequence[Range]) -> ColumnElement[bool]:
    """The condition for messages in one of these ranges, which are not none."""
    return or_(*(and_(messages.c.seq > each.after_seq, messages.c.seq <= each.to_seq) for each in ranges))


def is_free(ranges: Sequence[Range]) -> ColumnElement[bool]:
    """The condition for messages that are in none of these ranges."""
    return not_(is_in(ranges)) if ranges else true()


def release(connection: Connection, reader: AnyRow, *, erasure_id: str | None = None) -> None:
    """Open the deletion of the rows again that a row read, which ends to read, or reads less.

    `reader` is its row of `threads`. Rows of which nothing is to be deleted are left alone.
    """
    keys = [key for key in Lineage.of(reader).keys if key != reader.key]
    # A first branch that was deleted goes with the last one.
    keys += [key for key in (reader.parent_key, reader.root_key) if key is not None]
    if not keys:
        return
    # In one order for all; a sender's lock of a row, and a worker's, are no obstacle.
    sources = select(threads).where(threads.c.key.in_(set(keys))).order_by(threads.c.key)
    for source in connection.execute(sources.with_for_update(key_share=True)).all():
        if source.deleted_at is not None and source.owner is None and reader.owner is not None:
            # What is left of it is of the user who had it last: an erasure finds its files.
            connection.execute(update(threads).where(threads.c.key == source.key).values(owner=reader.owner))
        if source.deleted_at is not None or _has_hidden_messages(connection, source):
            open_deletion(connection, source, erasure_id=erasure_id)


def delete_hidden(connection: Connection, row: AnyRow) -> None:
    """Open the deletion of a row again, which is locked, where messages are left below its cutoff."""
    if _has_hidden_messages(connection, row):
        open_deletion(connection, row)


def _has_hidden_messages(connection: Connection, source: AnyRow) -> bool:
    hidden = exists().where(messages.c.thread_key == source.key, messages.c.seq <= source.history_starts_after)
    return bool(connection.execute(select(hidden)).scalar_one())


def open_deletion(connection: Connection, source: AnyRow, *, erasure_id: str | None = None) -> None:
    """Have a row's deletion go on; one that is under way already finds by itself what became free.

    Nothing of it is archived: each archive has all that its thread showed.
    """
    entry = insert_for(connection, pending_deletions).values(
        thread_key=source.key,
        tenant=source.tenant,
        cut_before=source.history_starts_after,
        deleted_to=source.history_starts_after,
        whole=source.deleted_at is not None,
        keep_summary=True,
        archive=False,
        policy=RELEASED,
        summary_id=source.summary_id,
        erasure_id=erasure_id,
        created_at=clock(),
    )
    if erasure_id is None:
        connection.execute(entry.on_conflict_do_nothing())
        return
    # What an erasure frees, it deletes: its certificate says that nothing is left.
    takes_over = entry.on_conflict_do_update(
        index_elements=["thread_key"], set_={"erasure_id": erasure_id}, where=pending_deletions.c.erasure_id.is_(None)
    )
    connection.execute(takes_over)
