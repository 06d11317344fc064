"""Storing files with their rows: announced, stored, confirmed.

What stays true: a process may die between any two of these steps, and be followed by another that
does them all again. What is left over is a row that says `pending`, which garbage collection finds. A
row says what the bytes are, never what somebody claims of bytes that nobody saw.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from sqlalchemy import Connection

from conversation.attachment import Attachment
from store.blobs import BlobStore
from store.database.engine import Database
from store.files.blob_rows import Announced, announce, confirm


class Keeper:
    """Stores the files of one installation."""

    def __init__(self, database: Database, blobs: BlobStore, *, is_limited: bool = True) -> None:
        """With `is_limited`, the tenant's limit counts: not for what we make of its files by ourselves."""
        self._database = database
        self._blobs = blobs
        settings = database.settings
        self._scans = bool(settings.scanner_url)
        self._max_bytes = settings.tenant_max_bytes if is_limited else 0

    def keep(self, tenant: str, files: Sequence[Attachment]) -> None:
        """Store examined files, blocking: after this, messages may have them.

        Those without their bytes are passed over: whoever attaches one finds out whether it is stored.
        Raises `FileStoreUnavailable`, `LimitReached` and `DatabaseUnavailable`.
        """
        if files := [file for file in files if file.content is not None]:
            announced = self._database.run(self._announcing(tenant, files))
            self._put(tenant, files)
            if confirming := _confirming(tenant, announced):
                self._database.run(confirming)

    async def keep_async(self, tenant: str, files: Sequence[Attachment]) -> None:
        """As `keep`, on the event loop."""
        if files := [file for file in files if file.content is not None]:
            announced = await self._database.run_async(self._announcing(tenant, files))
            await asyncio.to_thread(self._put, tenant, files)
            if confirming := _confirming(tenant, announced):
                await self._database.run_async(confirming)

    def _announcing(
        self, tenant: str, files: Sequence[Attachment]
    ) -> Callable[[Connection], Mapping[str, Announced]]:
        return partial(announce, tenant=tenant, files=files, scans=self._scans, max_bytes=self._max_bytes)

    def _put(self, tenant: str, files: Sequence[Attachment]) -> None:
        for file in files:
            assert file.sha256 is not None
            assert file.content is not None
            # Also where it is stored: bytes that were lost behind our back are healed.
            self._blobs.put(tenant, file.sha256, file.content, file.mime_type or "")


def _confirming(tenant: str, announced: Mapping[str, Announced]) -> Callable[[Connection], None] | None:
    if all(row.is_stored for row in announced.values()):
        return None
    return partial(confirm, tenant=tenant, announced=announced)
