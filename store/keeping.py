"""Storing files with their rows: announced, stored, confirmed.

What stays true: a process may die between any two of these steps, and be followed by another that
does them all again. What is left over is a row that says `pending`, which garbage collection finds.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from sqlalchemy import Connection

from conversation.attachment import Attachment
from conversation.errors import FileNotStored
from store.blob_rows import Announced, announce, confirm
from store.engine import Database
from store.files import BlobStore


class Keeper:
    """Stores the files of one installation."""

    def __init__(self, database: Database, blobs: BlobStore) -> None:
        self._database = database
        self._blobs = blobs

    def keep(self, tenant: str, files: Sequence[Attachment]) -> None:
        """Store examined files, blocking: after this, messages may have them.

        One that comes without its bytes has to be in the file store already. Raises `FileNotStored`,
        `FileStoreUnavailable`, `LimitReached` and `DatabaseUnavailable`.
        """
        if files := _kept_here(files):
            announced = self._database.run(self._announcing(tenant, files))
            self._put(tenant, files, announced)
            if confirming := _confirming(tenant, announced):
                self._database.run(confirming)

    async def keep_async(self, tenant: str, files: Sequence[Attachment]) -> None:
        """As `keep`, on the event loop."""
        if files := _kept_here(files):
            announced = await self._database.run_async(self._announcing(tenant, files))
            await asyncio.to_thread(self._put, tenant, files, announced)
            if confirming := _confirming(tenant, announced):
                await self._database.run_async(confirming)

    def _announcing(
        self, tenant: str, files: Sequence[Attachment]
    ) -> Callable[[Connection], Mapping[str, Announced]]:
        settings = self._database.settings
        return partial(
            announce,
            tenant=tenant,
            files=files,
            scans=bool(settings.scanner_url),
            max_bytes=settings.tenant_max_bytes,
        )

    def _put(self, tenant: str, files: Sequence[Attachment], announced: Mapping[str, Announced]) -> None:
        for file in files:
            assert file.sha256 is not None
            if file.content is not None:
                # Also where it is stored: bytes that were lost behind our back are healed.
                self._blobs.put(tenant, file.sha256, file.content, file.mime_type or "")
            elif not announced[file.sha256].is_stored and not self._blobs.exists(tenant, file.sha256):
                raise FileNotStored(
                    f"{file.filename!r} is not stored for tenant {tenant!r}; "
                    "pass its bytes, or store it first"
                )


def _kept_here(files: Sequence[Attachment]) -> Sequence[Attachment]:
    """Without those that are a hash alone: what they are, only a row can say."""
    return [file for file in files if file.content is not None or file.size is not None]


def _confirming(tenant: str, announced: Mapping[str, Announced]) -> Callable[[Connection], None] | None:
    if all(row.is_stored for row in announced.values()):
        return None
    return partial(confirm, tenant=tenant, announced=announced)
