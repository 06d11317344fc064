"""Preparation of files for models: scan them, read them once, store the text and the renditions.

What stays true: the renditions of a blob are stored before a row says so, so that a death between the two
costs nothing but the work; an infected file is not read. A file whose process died, or was cut off from
the database, is free again in seconds.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from conversation.attachment import Attachment
from conversation.errors import DatabaseUnavailable, FileNotStored
from conversation.fair_slots import FairSlots
from conversation.prepared_file import PreparationResult, Prepare, PreparedFile
from store.antivirus import Verdict, open_scanner
from store.blobs import BlobStore
from store.database.engine import Database
from store.files import garbage_collection, prepared_rows
from store.files.ingest import FileIngest
from store.files.prepared_rows import Preparation, Scan

#: Files that are prepared at once: each may have its bytes in memory.
CONCURRENT_FILES_MAX = 4
#: Files above this are stored and handed out, but not read for models: reading takes them into memory.
READ_MAX_BYTES = 64 * 1024 * 1024
#: Seconds between two renewals of a reservation: two may fail before it ends.
RENEW_SECONDS = prepared_rows.RESERVED_SECONDS / 3
#: Seconds for which a release waits for a database that is away: a file that stays reserved holds up a turn.
RELEASE_PATIENCE_SECONDS = 30.0

_TOO_LARGE = f"The file is too large to be read: only files up to {READ_MAX_BYTES // 2**20} MiB are."


class FilePreparer:
    """Prepares files in this process."""

    def __init__(self, store: BlobStore, database: Database, prepare: Prepare) -> None:
        self._store = store
        self._database = database
        self._prepare = prepare
        self._scanner = open_scanner(database.settings)
        # Renditions are not the tenant's doing: its quota does not apply.
        self._ingest = FileIngest(database, store, is_limited=False)
        self._slots = FairSlots(CONCURRENT_FILES_MAX)

    async def prepare(self, tenant: str, sha256: str) -> PreparedFile | None:
        """Prepare a file, unless another process does. Returns only a problem that is not stored.

        Raises `FileStoreUnavailable`, also for a scanner that gives no verdict.
        """
        async with self._slots.take(tenant):
            preparation = await self._database.run_async(
                prepared_rows.begin, tenant=tenant, sha256=sha256, scans=self._scanner is not None
            )
            return None if preparation is None else await self.prepare_begun(preparation)

    async def prepare_begun(self, preparation: Preparation) -> PreparedFile | None:
        """Prepare a file that this process has begun. Returns and raises as `prepare`."""
        try:
            async with self._renewing(preparation):
                return await self._scan_and_prepare(preparation)
        except FileNotStored:
            await self._release(preparation, retry_seconds=prepared_rows.LOST_RETRY_SECONDS)
            raise
        except BaseException:
            # Whatever it was, also a cancellation: it is no fault of the file.
            await asyncio.shield(self._release(preparation))
            raise

    @asynccontextmanager
    async def _renewing(self, preparation: Preparation) -> AsyncIterator[None]:
        """Renew the reservation for as long as the work inside takes."""

        async def renew() -> None:
            while True:
                await asyncio.sleep(RENEW_SECONDS)
                with suppress(DatabaseUnavailable):
                    await self._database.run_async(prepared_rows.renew, preparation=preparation)

        renewal = asyncio.create_task(renew())
        try:
            yield
        finally:
            renewal.cancel()
            # Its last statement must not come after the release.
            await asyncio.wait({renewal})

    async def _scan_and_prepare(self, preparation: Preparation) -> PreparedFile | None:
        tenant, sha256 = preparation.tenant, preparation.sha256
        if preparation.waits_for_scan and not await self._record_scan(tenant, sha256):
            return None
        if preparation.is_read:
            await self._release(preparation)
            return None
        if preparation.size > READ_MAX_BYTES:
            prepared = PreparationResult(note=_TOO_LARGE)
        else:
            content = await asyncio.to_thread(self._store.get, tenant, sha256)
            prepared = await self._prepare(content, preparation.media_type)
        if not prepared.is_final:
            # The reader was killed, or could not be started: a file that does this each time is given up.
            await self._release(preparation, counts_attempt=True)
            return PreparedFile(note=prepared.note)
        renditions = {
            kind: Attachment(filename=kind, content=picture.content, media_type=picture.media_type)
            for kind, picture in prepared_rows.pictures_of(prepared).items()
        }
        await self._ingest.store_async(tenant, list(renditions.values()))
        hashes = {kind: str(file.sha256) for kind, file in renditions.items()}
        orphans = await self._database.run_async(
            prepared_rows.write, tenant=tenant, sha256=sha256, prepared=prepared, rendition_hashes=hashes
        )
        for orphan in orphans:
            # At once, and not by the next collection: the file may have been that of an erased user.
            await self._database.run_async(
                garbage_collection.delete_marked, address=(tenant, orphan), delete_object=self._store.delete
            )
        return None

    async def _record_scan(self, tenant: str, sha256: str) -> bool:
        verdict = await asyncio.to_thread(self._scan, tenant, sha256)
        scan: Scan = "clean" if verdict.is_clean else "infected" if verdict.finding else "refused"
        await self._database.run_async(
            prepared_rows.note_scan, scan=scan, finding=verdict.finding, tenant=tenant, sha256=sha256
        )
        return verdict.is_clean

    def _scan(self, tenant: str, sha256: str) -> Verdict:
        assert self._scanner is not None
        # Piece by piece: a file that was uploaded past us may be large.
        with self._store.open(tenant, sha256) as chunks:
            return self._scanner.scan(chunks)

    async def _release(self, preparation: Preparation, **terms: Any) -> None:
        database = self._database.patient(RELEASE_PATIENCE_SECONDS)
        await database.run_async(prepared_rows.release, preparation=preparation, **terms)
