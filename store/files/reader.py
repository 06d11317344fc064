"""Files for a runner of turns, on the event loop: their bytes, and their prepared texts and renditions.

What stays true: a file that is not prepared yet is waited for, for a while; a file that is missing is
not waited for.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace

from conversation.attachment import Attachment
from conversation.backoff import pauses
from conversation.errors import FileNotStored, FileStoreUnavailable
from conversation.prepared_file import PreparedFile
from store.blobs import BlobStore
from store.database.engine import Database
from store.files import prepared_rows
from store.files.attachments import load_thread_files
from store.files.ingest import FileIngest
from store.media_types.examine import examine_file

#: Seconds between two polls whether another process has prepared a file: the first, and the longest.
POLL_SECONDS = 0.05
POLL_SECONDS_MAX = 1.0

#: Prepares a file (tenant, hash), or requests it: then it returns None, and also where all is stored.
PrepareFile = Callable[[str, str], Awaitable[PreparedFile | None]]

_GONE = PreparedFile(note="This file is no longer stored.")


class FileReader:
    """Reads the blobs of one installation, and their prepared texts and renditions."""

    def __init__(self, store: BlobStore, database: Database, prepare: PrepareFile) -> None:
        self._store = store
        self._database = database
        self._prepare = prepare

    async def read(self, tenant: str, sha256: str) -> bytes:
        """The bytes. Raises `FileNotStored` and `FileStoreUnavailable`."""
        return await asyncio.to_thread(self._store.get, tenant, sha256)

    async def save(self, tenant: str, file: Attachment) -> Attachment:
        """Store a file, examined as one that a user sends. Raises `FileRejected`, `FileStoreUnavailable`."""
        settings = self._database.settings
        examined_file = await asyncio.to_thread(
            examine_file,
            replace(file, media_type=None),
            max_bytes=settings.attachment_max_bytes,
            allowed=settings.attachment_types,
        )
        await FileIngest(self._database, self._store).store_async(tenant, [examined_file])
        return replace(examined_file, content=None)

    async def load_thread_files(self, tenant: str, thread_id: str) -> Sequence[Attachment]:
        """Load the files of a thread's history, the newest first."""
        return await self._database.run_async(load_thread_files, tenant=tenant, thread_id=thread_id)

    async def load_prepared(self, tenant: str, files: Sequence[Attachment]) -> Mapping[str, PreparedFile]:
        """Load what is stored of prepared files, by hash: one statement, if all are prepared.

        Others are prepared now. Raises `FileStoreUnavailable`, also where they are not prepared within
        THREADMILL_PREPARE_TIMEOUT_SECONDS.
        """
        hashes = list(dict.fromkeys(str(file.sha256) for file in files))
        prepared_files = await self._load_prepared_rows(tenant, hashes)
        missing = [sha256 for sha256 in hashes if sha256 not in prepared_files]
        if missing:
            gone_hashes = {sha256 for sha256 in missing if not await self._is_stored(tenant, sha256)}
            prepared_files |= dict.fromkeys(gone_hashes, _GONE)
            prepared_files |= await self._wait_for_prepared(
                tenant, [sha256 for sha256 in missing if sha256 not in gone_hashes]
            )
        return prepared_files

    async def load_texts(self, tenant: str, hashes: Sequence[str]) -> Mapping[str, str]:
        """Load the extracted texts of files, by hash: one statement."""
        return await self._database.run_async(prepared_rows.load_texts, tenant=tenant, hashes=hashes)

    async def _is_stored(self, tenant: str, sha256: str) -> bool:
        return await asyncio.to_thread(self._store.exists, tenant, sha256)

    async def _load_prepared_rows(self, tenant: str, hashes: Sequence[str]) -> dict[str, PreparedFile]:
        scans = bool(self._database.settings.scanner_url)
        return await self._database.run_async(prepared_rows.load_prepared, tenant=tenant, hashes=hashes, scans=scans)

    async def _wait_for_prepared(self, tenant: str, hashes: Sequence[str]) -> dict[str, PreparedFile]:
        """Wait until all files are prepared, with one poll for all at a time and one deadline."""
        seconds = self._database.settings.prepare_timeout_seconds
        deadline, poll_pauses = time.monotonic() + seconds, pauses(POLL_SECONDS, POLL_SECONDS_MAX)
        prepared_files: dict[str, PreparedFile] = {}
        while missing := [sha256 for sha256 in hashes if sha256 not in prepared_files]:
            if time.monotonic() >= deadline:
                raise FileStoreUnavailable(
                    f"blob {missing[0]} of tenant {tenant!r} was not prepared within {seconds:g} seconds; "
                    "see that a worker hears the queue files, and look at its log"
                )
            prepared_files |= await self._request_preparation(tenant, missing)
            prepared_files |= await self._load_prepared_rows(
                tenant, [sha256 for sha256 in missing if sha256 not in prepared_files]
            )
            if len(prepared_files) < len(hashes):
                await asyncio.sleep(next(poll_pauses))
        return prepared_files

    async def _request_preparation(self, tenant: str, hashes: Sequence[str]) -> dict[str, PreparedFile]:
        """Request the preparation of files; returns results at hand. All are tried before any raises."""
        results = await asyncio.gather(*(self._prepare(tenant, sha256) for sha256 in hashes), return_exceptions=True)
        prepared_files = {}
        for sha256, result in zip(hashes, results, strict=True):
            if isinstance(result, FileNotStored):
                prepared_files[sha256] = _GONE
            elif isinstance(result, BaseException):
                raise result
            elif result is not None:
                prepared_files[sha256] = result
        return prepared_files
