"""The files that a caller may attach by their hashes alone.

What stays true: knowing a hash is not enough: the caller has put the bytes, or may read them in the thread already.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, literal, select, union_all

from conversation.attachment import Attachment
from conversation.errors import InvalidInput
from store.tables import attachments, uploads


@dataclass(frozen=True, slots=True)
class FileChoice:
    """A file that a caller names by its hash."""

    sha256: str
    #: Its name in the message; None takes the one that it was put or sent with.
    filename: str | None = None


def resolve_files(
    connection: Connection, tenant: str, user: str | None, thread_key: int | None, choices: Sequence[FileChoice]
) -> list[Attachment]:
    """The attachments for files of completed uploads, or of the thread. One statement, none for no files.

    With `user`, of this user's uploads. Raises `InvalidInput` for others.
    """
    if not choices:
        return []
    names = _load_names(connection, tenant, user, thread_key, sorted({choice.sha256 for choice in choices}))
    for choice in choices:
        if choice.sha256 not in names:
            raise InvalidInput(
                "attachments.sha256",
                f"{choice.sha256} names no file of this thread, and none that you uploaded",
                "complete its upload first, or send its bytes",
            )
    return [Attachment(filename=choice.filename or names[choice.sha256], sha256=choice.sha256) for choice in choices]


def _load_names(
    connection: Connection, tenant: str, user: str | None, thread_key: int | None, hashes: Sequence[str]
) -> dict[str, str]:
    """The names of files by hash: one that the thread has it under, else one that it was uploaded under."""
    is_complete = (uploads.c.tenant == tenant) & uploads.c.sha256.in_(hashes) & uploads.c.completed_at.is_not(None)
    is_own = is_complete if user is None else is_complete & (uploads.c.owner == user)
    uploaded = select(uploads.c.sha256, uploads.c.filename, literal(0).label("rank")).where(is_own)
    of_thread = (attachments.c.thread_key == thread_key) & attachments.c.sha256.in_(hashes)
    attached = select(attachments.c.sha256, attachments.c.filename, literal(1)).where(of_thread)
    found = union_all(uploaded, attached).subquery() if thread_key is not None else uploaded.subquery()
    rows = connection.execute(select(found.c.sha256, found.c.filename).order_by(found.c.rank, found.c.filename))
    return {row.sha256: row.filename for row in rows}
