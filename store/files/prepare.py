"""Making files ready for models: scanned, read once, and what was made of them kept.

What stays true: what was made of a blob is stored before a row says so, so that a death between the two
costs nothing but the work; an infected file is not read.
"""

import asyncio
from functools import partial

from conversation.attachment import Attachment
from conversation.errors import FileNotStored
from conversation.prepared_file import Prepare, Prepared, PreparedFile
from store.antivirus import Verdict, open_scanner
from store.blobs import BlobStore
from store.database.engine import Database
from store.files import garbage_collection, prepared_rows
from store.files.ingest import Keeper
from store.files.prepared_rows import Begun, Scan

#: Files that are made ready at once: each may have its bytes in memory.
MADE_AT_ONCE = 4
#: Files above this are stored and handed out, but not read for models: reading takes them into memory.
READ_MAX_BYTES = 64 * 1024 * 1024

_TOO_LARGE = f"The file is too large to be read: only files up to {READ_MAX_BYTES // 2**20} MiB are."


class FileMaker:
    """Makes files ready in this process."""

    def __init__(self, store: BlobStore, database: Database, prepare: Prepare) -> None:
        self._store = store
        self._database = database
        self._prepare = prepare
        self._scanner = open_scanner(database.settings)
        # What is made here is not the tenant's doing.
        self._keeper = Keeper(database, store, is_limited=False)
        self._slots = asyncio.Semaphore(MADE_AT_ONCE)

    async def make(self, tenant: str, sha256: str) -> PreparedFile | None:
        """Make a file ready, if nobody is at it. What comes to nothing now, and is not kept, is returned.

        Raises `FileStoreUnavailable`, also for a scanner that gives no verdict.
        """
        async with self._slots:
            begun = await self._database.run_async(
                partial(prepared_rows.begin, tenant=tenant, sha256=sha256, scans=self._scanner is not None)
            )
            if begun is None:
                return None
            try:
                return await self._made(tenant, sha256, begun)
            except FileNotStored:
                await self._put_back(tenant, sha256, begun, again_seconds=prepared_rows.LOST_SECONDS)
                raise
            except BaseException:
                # Whatever it was, and be it that nobody wants it any more: it is no fault of the file.
                await asyncio.shield(self._put_back(tenant, sha256, begun))
                raise

    async def _made(self, tenant: str, sha256: str, begun: Begun) -> PreparedFile | None:
        if begun.waits_for_scan and not await self._passes(tenant, sha256):
            return None
        if begun.is_read:
            await self._put_back(tenant, sha256, begun)
            return None
        if begun.size > READ_MAX_BYTES:
            prepared = Prepared(problem=_TOO_LARGE)
        else:
            content = await asyncio.to_thread(self._store.get, tenant, sha256)
            prepared = await self._prepare(content, begun.media_type)
        if not prepared.is_final:
            # Its reader was killed, or could not be started: a file that has it happen each time is given up.
            await self._put_back(tenant, sha256, begun, counts=True)
            return PreparedFile(problem=prepared.problem)
        made = {
            kind: Attachment(filename=kind, content=picture.content, mime_type=picture.media_type)
            for kind, picture in prepared_rows.pictures_of(prepared).items()
        }
        await self._keeper.keep_async(tenant, list(made.values()))
        hashes = {kind: str(file.sha256) for kind, file in made.items()}
        orphans = await self._database.run_async(
            partial(prepared_rows.write, tenant=tenant, sha256=sha256, prepared=prepared, made=hashes)
        )
        for orphan in orphans:
            # At once, and not by the next collection: the file may have been a person's who was erased.
            await self._database.run_async(
                partial(
                    garbage_collection.delete_marked,
                    address=(tenant, orphan),
                    delete_object=self._store.delete,
                )
            )
        return None

    async def _passes(self, tenant: str, sha256: str) -> bool:
        verdict = await asyncio.to_thread(self._scanned, tenant, sha256)
        scan: Scan = "clean" if verdict.is_clean else "infected" if verdict.finding else "refused"
        note = partial(prepared_rows.note_scan, scan=scan, finding=verdict.finding)
        await self._database.run_async(partial(note, tenant=tenant, sha256=sha256))
        return verdict.is_clean

    def _scanned(self, tenant: str, sha256: str) -> Verdict:
        assert self._scanner is not None
        # Piece by piece: a file that was uploaded past us may be large.
        with self._store.open(tenant, sha256) as chunks:
            return self._scanner.scan(chunks)

    async def _put_back(
        self,
        tenant: str,
        sha256: str,
        begun: Begun,
        *,
        again_seconds: float = prepared_rows.AGAIN_SECONDS,
        counts: bool = False,
    ) -> None:
        put_back = partial(prepared_rows.put_back, tenant=tenant, sha256=sha256, begun=begun)
        await self._database.run_async(partial(put_back, again_seconds=again_seconds, counts=counts))
