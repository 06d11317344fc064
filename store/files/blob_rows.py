"""Rows of blobs around the moment when their bytes are stored.

A row comes before the bytes and says `pending`; when the bytes are stored it says `stored`, and only
then can a message get it. Garbage collection says `deleting` before it touches the bytes, and deletes
them and the row under the row's lock. So at every moment:

What stays true: the bytes of a row that says `stored` are in the file store; bytes without a row are
found only by a listing of the store.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, case, func, select, tuple_, update

from conversation.attachment import Attachment
from conversation.errors import FileNotStored, FileRejected, InvalidInput
from conversation.media_types import UNKNOWN_TYPE
from store.database.column_types import clock
from store.database.statements import AnyRow, insert_for
from store.files.quota import check_quota
from store.tables import blobs

#: The verdicts of a scanner on files that are not handed out, in words.
BLOCKED_SCANS = {"infected": "infected", "refused": "one that the scanner could not look into"}

#: A blob's tenant and hash.
Address = tuple[str, str]
blob_address = tuple_(blobs.c.tenant, blobs.c.sha256)


@dataclass(frozen=True, slots=True)
class Reservation:
    """A row of a blob that waits for its bytes, or has them."""

    #: When the row was made: another one of the same hash has another time.
    created_at: datetime
    is_stored: bool


def reserve(
    connection: Connection, tenant: str, files: Iterable[Attachment], *, scans: bool = False, max_bytes: int = 0
) -> Mapping[str, Reservation]:
    """Reserve rows for files, by hash, before their bytes are stored. One statement; three with a quota.

    Their sizes and types are taken for what they are: pass examined files. A blob that is not used
    gets its whole grace again; one that is about to be deleted is kept. Waits while it is deleted.
    `scans` has new ones wait for a scanner. Raises `LimitReached` where the tenant's files would have
    more than `max_bytes` (0 means any number).
    """
    by_hash = {str(file.sha256): file for file in files}
    new_bytes = sum(file.size or 0 for file in by_hash.values())
    check_quota(connection, tenant, new_bytes, max_bytes=max_bytes, excluded_hashes=by_hash)
    scan = "pending" if scans else None
    rows = [pending_row(tenant, sha256, file.size, file.media_type, scan) for sha256, file in sorted(by_hash.items())]
    # A key's columns stay as they are, so that this waits for no transaction that attaches the blob.
    statement = insert_for(connection, blobs).values(rows)
    statement = statement.on_conflict_do_update(
        index_elements=["tenant", "sha256"], set_=_renewed_values(statement.excluded)
    )
    reserved_rows = connection.execute(statement.returning(blobs.c.sha256, blobs.c.created_at, blobs.c.state))
    return {row.sha256: Reservation(row.created_at, row.state == "stored") for row in reserved_rows}


def _renewed_values(excluded: Any) -> dict[str, ColumnElement[Any]]:
    """The values of a row that is there already, out of its own and those of the new one."""
    is_stored = blobs.c.state == "stored"
    return {
        "state": case((is_stored, "stored"), else_="pending"),
        # A row that waits for its bytes was entered by a caller who may not have had them.
        "media_type": case((is_stored, blobs.c.media_type), else_=excluded.media_type),
        "size": case((is_stored, blobs.c.size), else_=excluded.size),
        "scan": func.coalesce(blobs.c.scan, excluded.scan),
        "unreferenced_since": case((blobs.c.unreferenced_since.is_(None), None), else_=clock()),
    }


def pending_row(
    tenant: str, sha256: str, size: int | None, media_type: str | None = None, scan: str | None = None
) -> dict[str, Any]:
    """The row of a blob whose bytes are not known to be stored, unused from now on."""
    return {
        "tenant": tenant,
        "sha256": sha256,
        "size": size,
        "media_type": media_type or UNKNOWN_TYPE,
        "state": "pending",
        "scan": scan,
        "created_at": clock(),
        "unreferenced_since": clock(),
    }


def confirm(connection: Connection, tenant: str, reservations: Mapping[str, Reservation]) -> None:
    """Note that the bytes are stored now. A row that is another than the reserved one stays as it is."""
    pending_keys = [(sha256, row.created_at) for sha256, row in reservations.items() if not row.is_stored]
    if pending_keys:
        own_rows = (blobs.c.tenant == tenant) & tuple_(blobs.c.sha256, blobs.c.created_at).in_(pending_keys)
        connection.execute(update(blobs).where(own_rows, blobs.c.state == "pending").values(state="stored"))


def lock_stored(connection: Connection, tenant: str, files: Collection[Attachment]) -> Mapping[str, AnyRow]:
    """Lock the rows of stored files until the transaction ends; returns size and verdict by hash."""
    # Deletion locks the row as a whole, so the weakest lock holds it off; what is written beside, such
    # as the text for the model, does not have to wait for a caller's long transaction.
    statement = (
        select(blobs.c.sha256, blobs.c.size, blobs.c.scan)
        .where(
            blobs.c.tenant == tenant,
            blobs.c.sha256.in_(sorted({str(file.sha256) for file in files})),
            blobs.c.state == "stored",
        )
        .order_by(blobs.c.sha256)
        .with_for_update(read=True, key_share=True)
    )
    return {row.sha256: row for row in connection.execute(statement)}


def check_stored(connection: Connection, tenant: str, files: Collection[Attachment], *, max_bytes: int = 0) -> None:
    """Lock the blobs of files, which have to be stored, until the transaction ends.

    Raises `InvalidInput` for a file that comes without its bytes and is not stored, `FileNotStored` for
    one that was collected since, and `FileRejected` for one that a scanner did not pass, or for more than
    `max_bytes` together (0 means any number).
    """
    stored = lock_stored(connection, tenant, files)
    total_bytes = sum(row.size for row in stored.values())
    if 0 < max_bytes < total_bytes:
        raise FileRejected(
            f"attachments: have {total_bytes} bytes together, at most {max_bytes} are accepted; "
            "send them in several messages, or raise THREADMILL_MESSAGE_MAX_BYTES"
        )
    for file in files:
        row = stored.get(str(file.sha256))
        if row is None and file.content is None:
            raise InvalidInput(
                "attachments.content",
                f"is missing, and {file.filename!r} is not stored",
                "pass the file's bytes, or complete its upload first",
            )
        if row is None:
            raise FileNotStored(f"{file.filename!r} was deleted since it was stored; send it again")
        if row.scan in BLOCKED_SCANS:
            raise FileRejected(f"{file.filename!r} is {BLOCKED_SCANS[row.scan]}; it is not accepted")
