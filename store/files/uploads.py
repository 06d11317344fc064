"""Uploads: files that a client puts into the store by itself, from being asked for to being complete.

What stays true: an upload is promised by a row before a client gets an address; no message can have
its file before it was verified; what expires leaves nothing behind.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, literal, select, tuple_, update

from conversation.attachment import Attachment
from conversation.errors import UploadNotFound
from conversation.ids import is_our_id
from conversation.quotation import quote
from store.database.column_types import DAY, OurId, Time, clock, moment_ago
from store.database.sqlite import read_only
from store.database.statements import convert_row, insert_for
from store.files.quota import check_quota
from store.tables import uploads

#: Seconds after its expiry in which bytes may still arrive: a client that began in time may be slow.
LATE_SECONDS = 3600.0
#: Uploads of one transaction.
BATCH = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A file that a client may put at an address."""

    id: str
    tenant: str
    #: The file as the client describes it, unverified.
    file: Attachment
    expires_at: datetime
    is_complete: bool = False
    #: The user who puts it; None where the tenant does.
    owner: str | None = None


def create(
    connection: Connection,
    upload_id: str,
    tenant: str,
    file: Attachment,
    *,
    expires_seconds: float,
    max_bytes: int = 0,
    owner: str | None = None,
) -> Upload:
    """Promise an upload; one that is promised already anew. Raises `LimitReached` beyond `max_bytes` of the tenant."""
    check_quota(connection, tenant, file.size or 0, max_bytes=max_bytes, with_uploads=True)
    promise = insert_for(connection, uploads).values(
        id=upload_id,
        tenant=tenant,
        owner=owner,
        filename=file.filename,
        media_type=file.media_type,
        size=file.size,
        sha256=file.sha256,
        created_at=clock(),
        expires_at=clock(plus_seconds=expires_seconds),
    )
    # There is one already where its commit, or the answer to it, was lost.
    promise = promise.on_conflict_do_update(
        index_elements=[uploads.c.id], set_={"expires_at": promise.excluded.expires_at}
    )
    expires_at = connection.execute(promise.returning(uploads.c.expires_at)).scalar_one()
    return Upload(id=upload_id, tenant=tenant, file=file, expires_at=expires_at, owner=owner)


def enter_complete(
    connection: Connection, upload_id: str, tenant: str, file: Attachment, *, expires_seconds: float, owner: str | None
) -> None:
    """Enter a file that is stored already as an upload that is complete: its owner may attach it for that long."""
    create(connection, upload_id, tenant, file, expires_seconds=expires_seconds, owner=owner)
    complete(connection, upload_id)


@read_only
def read(connection: Connection, tenant: str, upload_id: str, *, owner: str | None = None) -> Upload:
    """Load an upload that can still be completed, or is; with `owner`, of this user. Raises `UploadNotFound`."""
    is_open = uploads.c.completed_at.is_not(None) | (uploads.c.expires_at > clock(plus_seconds=-LATE_SECONDS))
    statement = select(uploads).where(uploads.c.id == upload_id, uploads.c.tenant == tenant, is_open)
    if owner is not None:
        statement = statement.where(uploads.c.owner == owner)
    row = connection.execute(statement).one_or_none() if is_our_id(upload_id) else None
    if row is None:
        raise UploadNotFound(
            f"upload {quote(upload_id)} of tenant {tenant!r} is not open: it has expired, or never was; "
            "create a new one"
        )
    file = Attachment(filename=row.filename, media_type=row.media_type, sha256=row.sha256, size=row.size)
    return convert_row(row, Upload, file=file, is_complete=row.completed_at is not None)


def complete(connection: Connection, upload_id: str) -> None:
    """Note that the file of an upload is verified and stored."""
    pending_row = (uploads.c.id == upload_id) & uploads.c.completed_at.is_(None)
    connection.execute(update(uploads).where(pending_row).values(completed_at=clock()))


@dataclass(frozen=True, slots=True)
class ExpiredUpload:
    """An upload that has expired and can no longer arrive late, complete or not."""

    tenant: str
    id: str
    expires_at: datetime


def load_expired(
    connection: Connection, *, after: ExpiredUpload | None = None, limit: int = BATCH
) -> Sequence[ExpiredUpload]:
    """Load the next uploads that have expired, the oldest first."""
    position = tuple_(uploads.c.expires_at, uploads.c.id)
    statement = select(uploads.c.tenant, uploads.c.id, uploads.c.expires_at).where(
        uploads.c.expires_at < moment_ago(days=LATE_SECONDS / DAY)
    )
    if after is not None:
        cursor = tuple_(literal(after.expires_at, Time()), literal(after.id, OurId))
        statement = statement.where(position > cursor)
    rows = connection.execute(statement.order_by(uploads.c.expires_at, uploads.c.id).limit(limit))
    return [ExpiredUpload(row.tenant, row.id, row.expires_at) for row in rows]


def load_known_ids(connection: Connection, upload_ids: Collection[str]) -> set[str]:
    """Load the ids, of the given ones, that have an upload."""
    valid_ids = [upload_id for upload_id in upload_ids if is_our_id(upload_id)]
    return set(connection.execute(select(uploads.c.id).where(uploads.c.id.in_(valid_ids))).scalars())


def forget(connection: Connection, upload_id: str) -> int:
    """Delete the row of an upload whose staged bytes are gone; 0 if it is gone already."""
    return connection.execute(delete(uploads).where(uploads.c.id == upload_id)).rowcount
