"""Access to stored files: which may be handed to their users.

What stays true: a file is handed out only when its bytes are stored, and a scanner, where there is one, has
passed it.
"""

from dataclasses import replace

from sqlalchemy import Connection, and_, select

from conversation.attachment import Attachment
from conversation.errors import FileNotReady, FileNotStored, FileRejected
from conversation.media_types import IMAGE_TYPES
from store.database.sqlite import read_only
from store.database.statements import AnyRow
from store.files.blob_rows import BLOCKED_SCANS
from store.tables import blobs, renditions


@read_only
def load_stored_file(connection: Connection, tenant: str, file: Attachment) -> Attachment:
    """Load a file with the type and size of its bytes. Raises `FileNotStored`."""
    row = _load_row(connection, tenant, file)
    return replace(file, media_type=row.media_type, size=row.size, content=None)


@read_only
def load_downloadable_file(connection: Connection, tenant: str, file: Attachment, *, scans: bool = False) -> Attachment:
    """As `load_stored_file`, if it may be handed out. Raises `FileNotReady` and `FileRejected` for others.

    With `scans`, a file that came before there was a scanner has to wait for it.
    """
    row = _load_row(connection, tenant, file)
    _check_scan(file, row, scans=scans)
    return replace(file, media_type=row.media_type, size=row.size, content=None)


@read_only
def load_thumbnail(connection: Connection, tenant: str, file: Attachment, *, scans: bool = False) -> Attachment | None:
    """Load the small picture of an image, or itself if it is small; None where there is none (yet).

    Raises as `load_downloadable_file`.
    """
    own_row = _load_row(connection, tenant, file)
    _check_scan(file, own_row, scans=scans)
    row = _load_thumbnail_row(connection, tenant, file)
    if row is None and _needs_no_thumbnail(own_row):
        row = own_row
    if row is None:
        return None
    return Attachment(
        filename=f"thumbnail.{row.media_type.rpartition('/')[2]}",
        media_type=row.media_type,
        sha256=row.sha256,
        size=row.size,
    )


def _load_thumbnail_row(connection: Connection, tenant: str, file: Attachment) -> AnyRow | None:
    is_rendition = and_(renditions.c.tenant == blobs.c.tenant, renditions.c.rendition_sha256 == blobs.c.sha256)
    statement = select(blobs.c.sha256, blobs.c.size, blobs.c.media_type).join(renditions, is_rendition)
    return connection.execute(
        statement.where(
            renditions.c.tenant == tenant, renditions.c.sha256 == file.sha256, renditions.c.kind == "thumbnail"
        )
    ).one_or_none()


def _needs_no_thumbnail(row: AnyRow) -> bool:
    """Whether a blob is a picture that could be read, and is small: its size is stored as its text."""
    return row.media_type in IMAGE_TYPES and row.extracted_text is not None and row.extraction_note is None


def _load_row(connection: Connection, tenant: str, file: Attachment) -> AnyRow:
    statement = select(blobs).where(blobs.c.tenant == tenant, blobs.c.sha256 == file.sha256, blobs.c.state == "stored")
    row: AnyRow | None = connection.execute(statement).one_or_none()
    if row is None:
        raise FileNotStored(f"{file.filename!r} is not stored for tenant {tenant!r}; send it again")
    return row


def _check_scan(file: Attachment, row: AnyRow, *, scans: bool) -> None:
    if row.scan in BLOCKED_SCANS:
        raise FileRejected(f"{file.filename!r} is {BLOCKED_SCANS[row.scan]}; it is not handed out")
    if scans and row.scan != "clean":
        raise FileNotReady(f"{file.filename!r} was not scanned yet; try again in a moment")
