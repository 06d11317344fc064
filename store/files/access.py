"""Which files may be shown to whom they belong to.

What stays true: a file is shown only when its bytes are stored, and a scanner, where there is one, has
passed it.
"""

from dataclasses import replace

from sqlalchemy import Connection, and_, select

from conversation.attachment import Attachment
from conversation.errors import FileNotReady, FileNotStored, FileRefused
from store.database.statements import AnyRow
from store.files.blob_rows import BLOCKED
from store.files.prepared_rows import PICTURES
from store.tables import blobs, renditions


def stored_file(connection: Connection, tenant: str, file: Attachment) -> Attachment:
    """The file with the type and size of its bytes. Raises `FileNotStored`."""
    row = _row(connection, tenant, file)
    return replace(file, mime_type=row.media_type, size=row.size, content=None)


def passed(connection: Connection, tenant: str, file: Attachment, *, scans: bool = False) -> Attachment:
    """As `stored_file`, for one that may be shown. Raises `FileNotReady` and `FileRefused` for others.

    With `scans`, a file that came before there was a scanner has to wait for it.
    """
    row = _row(connection, tenant, file)
    _check_scan(file, row, scans=scans)
    return replace(file, mime_type=row.media_type, size=row.size, content=None)


def thumbnail(
    connection: Connection, tenant: str, file: Attachment, *, scans: bool = False
) -> Attachment | None:
    """The small picture of an image, or itself if it is small; None where there is none (yet).

    Raises as `passed`.
    """
    own = _row(connection, tenant, file)
    _check_scan(file, own, scans=scans)
    made = select(blobs.c.sha256, blobs.c.size, blobs.c.media_type).join(
        renditions,
        and_(renditions.c.tenant == blobs.c.tenant, renditions.c.made_sha256 == blobs.c.sha256),
    )
    row = connection.execute(
        made.where(
            renditions.c.tenant == tenant,
            renditions.c.sha256 == file.sha256,
            renditions.c.kind == "thumbnail",
        )
    ).one_or_none()
    # A picture that could be read, and needed none: its size is kept as its text.
    if row is None and own.media_type in PICTURES and own.text is not None and own.problem is None:
        row = own
    if row is None:
        return None
    return Attachment(
        filename=f"thumbnail.{row.media_type.rpartition('/')[2]}",
        mime_type=row.media_type,
        sha256=row.sha256,
        size=row.size,
    )


def _row(connection: Connection, tenant: str, file: Attachment) -> AnyRow:
    statement = select(blobs).where(
        blobs.c.tenant == tenant, blobs.c.sha256 == file.sha256, blobs.c.state == "stored"
    )
    row: AnyRow | None = connection.execute(statement).one_or_none()
    if row is None:
        raise FileNotStored(f"{file.filename!r} is not stored for tenant {tenant!r}; send it again")
    return row


def _check_scan(file: Attachment, row: AnyRow, *, scans: bool) -> None:
    if row.scan in BLOCKED:
        raise FileRefused(f"{file.filename!r} is {BLOCKED[row.scan]}; it is not handed out")
    if scans and row.scan != "clean":
        raise FileNotReady(f"{file.filename!r} was not scanned yet; try again in a moment")
