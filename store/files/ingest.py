"""Ingest of files: reserve the rows, put the bytes, confirm the rows.

What stays true: a process may die between any two of these steps, and be followed by another that
does them all again. What is left over is a row that says `pending`, which garbage collection finds. A
row says what the bytes are, never what a client claims of bytes that were not read.
"""

import asyncio
from collections.abc import Mapping, Sequence

from conversation.attachment import Attachment
from store.blobs import BlobStore
from store.blobs.hashing import Content
from store.database.engine import Database
from store.files.blob_rows import Reservation, confirm, reserve


class FileIngest:
    """Stores the files of one installation."""

    def __init__(self, database: Database, blobs: BlobStore, *, is_limited: bool = True) -> None:
        """With `is_limited`, the tenant's quota applies: not to renditions, which we make by ourselves."""
        self._database = database
        self._blobs = blobs
        settings = database.settings
        self._scans = bool(settings.scanner_url)
        self._max_bytes = settings.tenant_max_bytes if is_limited else 0

    def store(self, tenant: str, files: Sequence[Attachment]) -> None:
        """Store examined files, blocking: after this, messages may have them.

        Files without their bytes are passed over: attaching one checks whether it is stored.
        Raises `FileStoreUnavailable`, `LimitReached` and `DatabaseUnavailable`.
        """
        if files := [file for file in files if file.content is not None]:
            database = self._database.acting_for(tenant)
            reservations = database.run(reserve, tenant, files, scans=self._scans, max_bytes=self._max_bytes)
            self._put(tenant, [(file, file.content) for file in files if file.content is not None])
            if _has_pending(reservations):
                database.run(confirm, tenant, reservations)

    async def store_async(self, tenant: str, files: Sequence[Attachment]) -> None:
        """As `store`, on the event loop."""
        await self.store_opened([(file, file.content) for file in files if file.content is not None], tenant=tenant)

    async def store_opened(self, files: Sequence[tuple[Attachment, Content]], *, tenant: str) -> None:
        """As `store_async`, of examined files whose bytes may be on a disk: they are not read into memory."""
        if not files:
            return
        database = self._database.acting_for(tenant)
        reservations = await database.run_async(
            reserve, tenant, [file for file, _ in files], scans=self._scans, max_bytes=self._max_bytes
        )
        await asyncio.to_thread(self._put, tenant, files)
        if _has_pending(reservations):
            await database.run_async(confirm, tenant, reservations)

    def _put(self, tenant: str, files: Sequence[tuple[Attachment, Content]]) -> None:
        for file, content in files:
            # Also where it is stored: bytes that were lost behind our back are healed.
            self._blobs.put(tenant, str(file.sha256), content, file.media_type or "")


def _has_pending(reservations: Mapping[str, Reservation]) -> bool:
    return not all(row.is_stored for row in reservations.values())
