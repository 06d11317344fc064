"""Uploads that are over, as plain functions that a task or a test can call.

What stays true: one whose bytes cannot be removed stops no other, and keeps its row for the next run.
"""

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice

from conversation.errors import FileStoreUnavailable, UploadsNotSupported
from store import uploads
from store.engine import Database
from store.files import BlobStore, open_file_store
from store.settings import Settings
from store.uploads import Over

#: Objects of one statement that looks for their rows.
PAGE = 1000


def run_expiry(database: Database, settings: Settings) -> int:
    """Forget uploads that are over, with what was put for them; returns how many.

    One whose bytes cannot be removed stops no other. Raises `FileStoreUnavailable` for the last of them.
    """
    files, expired = open_file_store(settings), 0
    after: Over | None = None
    failed: FileStoreUnavailable | None = None
    try:
        while page := database.run(partial(uploads.over, after=after)):
            for upload in page:
                try:
                    # Also of a complete one: its address was good until now, and may have been used again.
                    _discard(files, upload.tenant, upload.id)
                except FileStoreUnavailable as error:
                    failed = error
                else:
                    expired += database.run(partial(uploads.forget, upload_id=upload.id))
            after = page[-1]
        _discard_strays(database, files, settings)
    finally:
        files.close()
    if failed is not None:
        raise failed
    return expired


def _discard_strays(database: Database, files: BlobStore, settings: Settings) -> None:
    """Remove what a late client put for an upload that was forgotten."""
    late = timedelta(seconds=settings.upload_expires_seconds + 2 * uploads.LATE_SECONDS)
    for tenant in files.tenants():
        staged = files.list_uploads(tenant)
        while page := list(islice(staged, PAGE)):
            old = {each.upload_id for each in page if each.modified_at <= datetime.now(UTC) - late}
            known = database.run(partial(uploads.known, upload_ids=old))
            for upload_id in sorted(old - known):
                _discard(files, tenant, upload_id)


def _discard(files: BlobStore, tenant: str, upload_id: str) -> None:
    # Promised while the files were in a bucket; now they are elsewhere.
    with suppress(UploadsNotSupported):
        files.discard_upload(tenant, upload_id)
