"""Attachments, the rows of their blobs, and the bytes in the file store.

What stays true: no bytes are deleted here. An object that no row knows gets a row that no message uses,
and garbage collection deletes both when the grace is over, under the row's lock: a message that is
just being sent with the same bytes keeps them. The file store is never asked while a lock is held, but
once: a row goes only while its lock says that no message uses it, and its bytes are seen to be missing.
"""

import heapq
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import groupby, islice
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, Select, and_, delete, func, or_, select, update

from conversation.errors import FileNotStored, FileRejected
from conversation.media_types import UNKNOWN_TYPE
from store.database.column_types import clock
from store.database.statements import AnyRow, insert_for
from store.doctor.finding import Check, Finding
from store.doctor.inspection import Inspection, Scope
from store.doctor.row_check import thread_columns, thread_ids
from store.files.blob_rows import Address, blob_address
from store.files.garbage_collection import delete_marked, is_used
from store.media_types.examine import examine
from store.tables import attachments, blobs, threads
from store.tables.retention import ARCHIVES

#: Blobs of one statement.
PAGE = 1000
#: Tenants whose files are compared, at most.
TENANTS_MAX = 1000
#: Seconds after which a blob is not just being deleted any more.
DELETING_SECONDS = 24 * 3600.0


# Attachments whose blob has no row


def _find_without_blob(inspection: Inspection) -> Iterator[Finding]:
    for keys in inspection.read_pages():
        for row in inspection.run(_read_without_blob, scope=inspection.scope, keys=keys):
            ids = thread_ids(row) | {"message": row.message_id, "index": row.file_index, "sha256": row.sha256}
            is_there = inspection.files.exists(row.tenant, row.sha256)
            detail = "its bytes are in the file store" if is_there else "its bytes are missing as well"
            yield Finding(ids=ids, detail=f"its blob has no row; {detail}", is_repairable=is_there)


def _read_without_blob(connection: Connection, scope: Scope, keys: tuple[int, int]) -> Sequence[AnyRow]:
    file_columns = attachments.c.message_id, attachments.c.index.label("file_index"), attachments.c.sha256
    statement = (
        select(*thread_columns(), *file_columns)
        .join(threads, attachments.c.thread_key == threads.c.key)
        .outerjoin(blobs, _is_same_blob())
        .where(threads.c.key.between(*keys), blobs.c.sha256.is_(None), scope.covers(threads.c.tenant))
    )
    return connection.execute(statement.order_by(threads.c.key).limit(scope.findings + 1)).all()


def _is_same_blob() -> Any:
    return and_(attachments.c.tenant == blobs.c.tenant, attachments.c.sha256 == blobs.c.sha256)


# Blobs that are being deleted for long


def _select_deleting() -> Select[Any]:
    long_ago = clock(plus_seconds=-DELETING_SECONDS)
    return select(blobs.c.tenant, blobs.c.sha256).where(
        blobs.c.state == "deleting", or_(blobs.c.unreferenced_since.is_(None), blobs.c.unreferenced_since < long_ago)
    )


def _find_deleting(inspection: Inspection) -> Iterator[Finding]:
    for address in _read_addresses(inspection, _select_deleting()):
        yield Finding(ids=_ids(address), detail="it is marked as being deleted", is_repairable=True)


def _finish_deleting(inspection: Inspection, finding: Finding) -> str | None:
    def finish(connection: Connection) -> str | None:
        if not connection.execute(_restrict_to_blob(_select_deleting(), finding).with_for_update()).all():
            return None
        address = (finding.ids["tenant"], finding.ids["sha256"])
        is_deleted = delete_marked(connection, address, inspection.files.delete)
        return "its bytes and its row were deleted" if is_deleted else None

    return inspection.repair("blob-left-deleting", finding.ids, finish)


# Blobs that messages have, whose row still waits for the bytes


def _select_pending() -> Select[Any]:
    return select(blobs.c.tenant, blobs.c.sha256).where(blobs.c.state == "pending", is_used)


def _find_pending(inspection: Inspection) -> Iterator[Finding]:
    for address in _read_addresses(inspection, _select_pending()):
        # Without its bytes, it is reported as a blob without object.
        if inspection.files.exists(*address):
            yield Finding(ids=_ids(address), detail="its bytes came after its row", is_repairable=True)


def _confirm(inspection: Inspection, finding: Finding) -> str | None:
    def confirm(connection: Connection) -> str | None:
        if not connection.execute(_restrict_to_blob(_select_pending(), finding).with_for_update(of=blobs)).all():
            return None
        connection.execute(_restrict_to_blob(update(blobs), finding).values(state="stored"))
        return "it is marked as stored"

    return inspection.repair("blob-left-pending", finding.ids, confirm)


def _read_addresses(inspection: Inspection, statement: Select[Any]) -> list[Address]:
    """Read the addresses of blobs that a statement selects, as far as they are inspected."""
    in_scope = statement.where(inspection.scope.covers(blobs.c.tenant)).order_by(blobs.c.tenant, blobs.c.sha256)
    limited = in_scope.limit(inspection.scope.findings + 1)
    return [(row.tenant, row.sha256) for row in inspection.run(lambda connection: connection.execute(limited).all())]


def _ids(address: Address) -> dict[str, str]:
    return {"tenant": address[0], "sha256": address[1]}


def _restrict_to_blob(statement: Any, finding: Finding) -> Any:
    return statement.where(blobs.c.tenant == finding.ids["tenant"], blobs.c.sha256 == finding.ids["sha256"])


# Rows and objects, side by side


def _compare_tenants(inspection: Inspection) -> Iterator[tuple[str, str, set[str]]]:
    """Compare the rows and objects of each tenant: yields tenant, hash, and its sides, `row`, `object`."""
    tenants = [inspection.scope.tenant] if inspection.scope.tenant is not None else inspection.run(_read_tenants)
    if len(tenants) > TENANTS_MAX:
        inspection.bounds_reached.add("tenants")
    for tenant in tenants[:TENANTS_MAX]:
        if inspection.is_over():
            return
        for sha256, sides in compare_sides(inspection, tenant, _read_hashes(inspection, tenant)):
            yield tenant, sha256, sides


def compare_sides(inspection: Inspection, tenant: str, rows: Iterable[str]) -> Iterator[tuple[str, set[str]]]:
    """Compare the hashes of rows, which are ascending, with a tenant's objects: yields hash and sides."""
    sides = heapq.merge(
        ((sha256, "row") for sha256 in rows), ((blob.sha256, "object") for blob in inspection.files.list(tenant))
    )
    for count, (sha256, group) in enumerate(groupby(sides, key=itemgetter(0)), start=1):
        if count > inspection.scope.objects:
            inspection.bounds_reached.add("objects")
            return
        if count % PAGE == 0 and inspection.is_over():
            return
        yield sha256, {side for _, side in group}


def _read_tenants(connection: Connection) -> list[str]:
    statement = select(threads.c.tenant).union(select(blobs.c.tenant)).order_by("tenant").limit(TENANTS_MAX + 1)
    # Parts of archives have rows of their own.
    return [tenant for tenant in connection.execute(statement).scalars() if tenant != ARCHIVES]


def _read_hashes(inspection: Inspection, tenant: str) -> Iterator[str]:
    after = ""
    while page := inspection.run(_read_hash_page, tenant=tenant, after=after):
        yield from page
        after = page[-1]


def _read_hash_page(connection: Connection, *, tenant: str, after: str) -> list[str]:
    statement = select(blobs.c.sha256).where(blobs.c.tenant == tenant, blobs.c.sha256 > after)
    return list(connection.execute(statement.order_by(blobs.c.sha256).limit(PAGE)).scalars())


def _batch_one_sided(inspection: Inspection, side: str) -> Iterator[list[Address]]:
    """Batch the addresses that are on one side only: each is checked again before it is reported."""
    addresses = ((tenant, sha256) for tenant, sha256, sides in _compare_tenants(inspection) if sides == {side})
    while batch := list(islice(addresses, PAGE)):
        yield batch


# Rows whose bytes are missing


def _find_without_object(inspection: Inspection) -> Iterator[Finding]:
    for batch in _batch_one_sided(inspection, "row"):
        missing_addresses = [address for address in batch if not inspection.files.exists(*address)]
        for row in inspection.run(_read_remaining_rows, addresses=missing_addresses):
            ids = _ids((row.tenant, row.sha256))
            if row.message_id is None:
                yield Finding(ids=ids, detail="its bytes are missing, and no message has it", is_repairable=True)
            else:
                ids["message"] = row.message_id
                yield Finding(ids=ids, detail="its bytes are missing, and a message has it", is_repairable=False)


def _read_remaining_rows(connection: Connection, *, addresses: Sequence[Address]) -> Sequence[AnyRow]:
    """Read the rows that are still there. A row that is being deleted is locked: its bytes go first."""
    lock = select(blobs.c.tenant, blobs.c.sha256).where(blob_address.in_(addresses)).order_by(blobs.c.sha256)
    remaining = [(row.tenant, row.sha256) for row in connection.execute(lock.with_for_update(skip_locked=True))]
    message_id = select(func.min(attachments.c.message_id)).where(_is_same_blob()).correlate(blobs)
    statement = select(blobs.c.tenant, blobs.c.sha256, message_id.scalar_subquery().label("message_id"))
    # The bytes of a blob that no message has may be on their way, or being deleted.
    statement = statement.where(or_(blobs.c.state == "stored", is_used))
    return connection.execute(statement.where(blob_address.in_(remaining)).order_by(blobs.c.sha256)).all()


def _drop_row(inspection: Inspection, finding: Finding) -> str | None:
    def drop(connection: Connection) -> str | None:
        lock = _restrict_to_blob(select(blobs.c.sha256), finding).with_for_update(skip_locked=True)
        if not connection.execute(lock).all():
            return None
        if inspection.files.exists(finding.ids["tenant"], finding.ids["sha256"]):
            return None
        # In a later statement: a message may have come to it before the lock.
        deletion = connection.execute(_restrict_to_blob(delete(blobs), finding).where(~is_used))
        return "the row was deleted" if deletion.rowcount else None

    return inspection.repair("blob-without-object", finding.ids, drop)


# Bytes that no row knows


def _find_without_row(inspection: Inspection) -> Iterator[Finding]:
    for batch in _batch_one_sided(inspection, "object"):
        # Bytes are stored first: the row of a message that is being sent may follow within moments.
        time.sleep(max(0.0, min(inspection.scope.upload_seconds, inspection.deadline - time.monotonic())))
        stored_addresses = inspection.run(_read_stored, addresses=batch)
        for address in batch:
            if address not in stored_addresses:
                detail = "the file store has it, and no row does"
                yield Finding(ids=_ids(address), detail=detail, is_repairable=True)


def _read_stored(connection: Connection, *, addresses: Sequence[Address]) -> set[Address]:
    rows = connection.execute(select(blobs.c.tenant, blobs.c.sha256).where(blob_address.in_(addresses)))
    return {(row.tenant, row.sha256) for row in rows}


def _adopt(inspection: Inspection, finding: Finding, *, check: str) -> str | None:
    """Enter a blob whose bytes are stored. Raises `FileNotStored` for damaged bytes."""
    tenant, sha256 = finding.ids["tenant"], finding.ids["sha256"]
    try:
        content = inspection.files.get(tenant, sha256)
    except FileNotStored:
        if not inspection.files.exists(tenant, sha256):
            return None
        raise
    values = {"tenant": tenant, "sha256": sha256, "size": len(content), "media_type": _type_of(content)}

    def adopt(connection: Connection) -> str | None:
        row = insert_for(connection, blobs).values(**values, created_at=clock())
        row = row.on_conflict_do_nothing(index_elements=["tenant", "sha256"]).returning(blobs.c.sha256)
        return "its row was written" if connection.execute(row).all() else None

    return inspection.repair(check, finding.ids, adopt)


def _type_of(content: bytes) -> str:
    try:
        return examine("file", content, None, max_bytes=len(content), allowed=["*"])
    except FileRejected:
        return UNKNOWN_TYPE


CHECKS: tuple[Check, ...] = (
    Check(
        name="attachment-without-blob",
        means="a message has a file whose blob has no row",
        advice="the row is written again if the bytes are in the file store; else restore them from a backup",
        find=_find_without_blob,
        repair=partial(_adopt, check="attachment-without-blob"),
    ),
    Check(
        name="blob-left-deleting",
        means="a blob is marked as being deleted for more than a day",
        advice="its bytes and its row are deleted, unless a message has it",
        find=_find_deleting,
        repair=_finish_deleting,
    ),
    Check(
        name="blob-left-pending",
        means="a message has a file whose row waits for its bytes, and they are there",
        advice="it is marked as stored: an import brought the row, and somebody the bytes",
        find=_find_pending,
        repair=_confirm,
    ),
    Check(
        name="blob-without-object",
        means="a blob has a row, and its bytes are not in the file store",
        advice="a row that no message uses is deleted; else restore the bytes from a backup, "
        "or store the same file again",
        find=_find_without_object,
        repair=_drop_row,
    ),
    Check(
        name="object-without-blob",
        means="the file store has bytes that no row knows",
        advice="a row is written that no message uses: both are deleted when the grace is over",
        find=_find_without_row,
        repair=partial(_adopt, check="object-without-blob"),
    ),
)
