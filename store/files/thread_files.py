"""The files of a thread, for who may read it: found and cleared in one transaction."""

from sqlalchemy import Connection

from conversation.attachment import Attachment
from conversation.validation import check_id, check_sha256
from store.database.sqlite import read_only
from store.files.access import load_downloadable_file, load_thumbnail
from store.files.attachments import find_thread_file


@read_only
def find_download(
    connection: Connection, tenant: str, thread_id: str, sha256: str, *, user: str | None, scans: bool
) -> Attachment:
    """A file of a thread that may be handed out; with `user`, of this user's thread.

    Raises `FileNotStored`, and as `load_downloadable_file`.
    """
    file = _find(connection, tenant, thread_id, sha256, user)
    return load_downloadable_file(connection, tenant, file, scans=scans)


@read_only
def find_thumbnail(
    connection: Connection, tenant: str, thread_id: str, sha256: str, *, user: str | None, scans: bool
) -> Attachment | None:
    """As `find_download`, the small picture of it; None where there is none, or none yet."""
    file = _find(connection, tenant, thread_id, sha256, user)
    return load_thumbnail(connection, tenant, file, scans=scans)


def _find(connection: Connection, tenant: str, thread_id: str, sha256: str, user: str | None) -> Attachment:
    check_id("thread_id", thread_id)
    return find_thread_file(connection, tenant, thread_id, check_sha256("sha256", sha256), user=user)
