"""Files for a runner of turns, on the event loop: their bytes, and what was made of them.

What stays true: a file that nobody has made ready is waited for, for a while; a file that is missing is
not waited for.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from conversation.attachment import Attachment
from conversation.errors import FileNotStored, FileStoreUnavailable
from conversation.prepared_file import PreparedFile
from store.blobs import BlobStore
from store.database.engine import Database
from store.file_store import FileStore
from store.files import prepared_rows
from store.files.attachments import files_of_thread
from store.files.ingest import Keeper

#: Seconds between two looks whether somebody else has made a file ready: the first, and the longest.
LOOK_SECONDS = 0.05
LOOK_SECONDS_MAX = 1.0

#: Makes a file ready (tenant, hash), or has it made: then it gives None, and so it does when all is kept.
Make = Callable[[str, str], Awaitable[PreparedFile | None]]

_GONE = PreparedFile(problem="This file is no longer stored.")


class StoredFiles:
    """The blobs of one installation, and what was made of them."""

    def __init__(self, store: BlobStore, database: Database, make: Make) -> None:
        self._store = store
        self._database = database
        self._make = make

    async def read(self, tenant: str, sha256: str) -> bytes:
        """The bytes. Raises `FileNotStored` and `FileStoreUnavailable`."""
        return await asyncio.to_thread(self._store.get, tenant, sha256)

    async def save(self, tenant: str, file: Attachment) -> Attachment:
        """Store a file, examined as one that a user sends. Raises `FileRefused`, `FileStoreUnavailable`."""
        files = FileStore(self._store, self._database.settings, tenant=tenant)
        examined = files.examined(replace(file, mime_type=None))
        await Keeper(self._database, self._store).keep_async(tenant, [examined])
        return replace(examined, content=None)

    async def thread_files(self, tenant: str, thread_id: str) -> Sequence[Attachment]:
        """The files of a thread's history, the newest first."""
        return await self._database.run_async(partial(files_of_thread, tenant=tenant, thread_id=thread_id))

    async def prepared(self, tenant: str, files: Sequence[Attachment]) -> Mapping[str, PreparedFile]:
        """What is kept of these files, by hash: one statement, if all are ready.

        The others are made ready now. Raises `FileStoreUnavailable`, also where nobody makes them ready
        within THREADMILL_PREPARE_WAIT_SECONDS.
        """
        hashes = list(dict.fromkeys(str(file.sha256) for file in files))
        known = await self._look(tenant, hashes)
        missing = [sha256 for sha256 in hashes if sha256 not in known]
        if missing:
            gone = {sha256 for sha256 in missing if not await self._is_there(tenant, sha256)}
            known |= dict.fromkeys(gone, _GONE)
            known |= await self._waited_for(tenant, [sha256 for sha256 in missing if sha256 not in gone])
        return known

    async def texts(self, tenant: str, hashes: Sequence[str]) -> Mapping[str, str]:
        """The texts that are kept, by hash: one statement."""
        return await self._database.run_async(partial(prepared_rows.texts, tenant=tenant, hashes=hashes))

    async def _is_there(self, tenant: str, sha256: str) -> bool:
        return await asyncio.to_thread(self._store.exists, tenant, sha256)

    async def _look(self, tenant: str, hashes: Sequence[str]) -> dict[str, PreparedFile]:
        scans = bool(self._database.settings.scanner_url)
        return await self._database.run_async(
            partial(prepared_rows.look, tenant=tenant, hashes=hashes, scans=scans)
        )

    async def _waited_for(self, tenant: str, hashes: Sequence[str]) -> dict[str, PreparedFile]:
        """All of them, by one look for all at a time, until one deadline."""
        seconds = self._database.settings.prepare_wait_seconds
        until, pause = time.monotonic() + seconds, LOOK_SECONDS
        known: dict[str, PreparedFile] = {}
        while missing := [sha256 for sha256 in hashes if sha256 not in known]:
            if time.monotonic() >= until:
                raise FileStoreUnavailable(
                    f"blob {missing[0]} of tenant {tenant!r} was not made ready within {seconds:g} seconds; "
                    "see that a worker hears the queue files, and look at its log"
                )
            known |= await self._have_made(tenant, missing)
            known |= await self._look(tenant, [sha256 for sha256 in missing if sha256 not in known])
            if len(known) < len(hashes):
                await asyncio.sleep(pause)
                pause = min(pause * 2, LOOK_SECONDS_MAX)
        return known

    async def _have_made(self, tenant: str, hashes: Sequence[str]) -> dict[str, PreparedFile]:
        """What came of it at once. All have their chance before an error is raised."""
        made = await asyncio.gather(
            *(self._make(tenant, sha256) for sha256 in hashes), return_exceptions=True
        )
        known = {}
        for sha256, one in zip(hashes, made, strict=True):
            if isinstance(one, FileNotStored):
                known[sha256] = _GONE
            elif isinstance(one, BaseException):
                raise one
            elif one is not None:
                known[sha256] = one
        return known
