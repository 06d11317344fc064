"""Files for a runner of turns, on the event loop: their bytes, and what was made of them.

What stays true: a blob is made ready once, by whoever asks first; what was made of it is stored
before a row says so, so that a crash between the two costs nothing but the work.
"""

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from hashlib import sha256 as hash_of
from weakref import WeakValueDictionary

from conversation.attachment import Attachment
from conversation.errors import FileNotStored
from conversation.prepared import Prepare, PreparedFile
from store import preparations
from store.attachments import files_of_thread
from store.engine import Database
from store.file_store import FileStore
from store.files import BlobStore

#: Files that are made ready at once: each holds its bytes.
PREPARE_AT_ONCE = 4

_GONE = PreparedFile(problem="This file is no longer stored.")


class StoredFiles:
    """The blobs of one installation, and what was made of them."""

    def __init__(self, store: BlobStore, database: Database, prepare: Prepare) -> None:
        """`prepare` makes a file ready that nobody has made ready before."""
        self._store = store
        self._database = database
        self._prepare = prepare
        self._slots = asyncio.Semaphore(PREPARE_AT_ONCE)
        #: Two turns that need the same file at once: one does it, the other waits.
        self._under_way: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()

    async def read(self, tenant: str, sha256: str) -> bytes:
        """The bytes. Raises `FileNotStored` and `FileStoreUnavailable`."""
        return await asyncio.to_thread(self._store.get, tenant, sha256)

    async def save(self, tenant: str, file: Attachment) -> Attachment:
        """Store a file, examined as one that a user sends. Raises `FileRefused`, `FileStoreUnavailable`."""
        files = FileStore(self._store, self._database.settings, tenant=tenant)
        return await files.save(file.content or b"", file.filename)

    async def thread_files(self, tenant: str, thread_id: str) -> Sequence[Attachment]:
        """The files of a thread's history, the newest first."""
        return await self._database.run_async(partial(files_of_thread, tenant=tenant, thread_id=thread_id))

    async def prepared(self, tenant: str, files: Sequence[Attachment]) -> Mapping[str, PreparedFile]:
        """What is kept of these files, by hash: one statement, if all are ready.

        The others are made ready now. Raises `FileStoreUnavailable`.
        """
        by_hash = {str(file.sha256): file for file in files}
        known = await self._look(tenant, list(by_hash))
        missing = [file for sha256, file in by_hash.items() if sha256 not in known]
        made = await asyncio.gather(*(self._prepared(tenant, file) for file in missing))
        return known | {str(file.sha256): one for file, one in zip(missing, made, strict=True)}

    async def texts(self, tenant: str, hashes: Sequence[str]) -> Mapping[str, str]:
        """The texts that are kept, by hash: one statement."""
        return await self._database.run_async(partial(preparations.texts, tenant=tenant, hashes=hashes))

    async def _look(self, tenant: str, hashes: Sequence[str]) -> dict[str, PreparedFile]:
        return await self._database.run_async(partial(preparations.look, tenant=tenant, hashes=hashes))

    async def _prepared(self, tenant: str, file: Attachment) -> PreparedFile:
        sha256 = str(file.sha256)
        lock = self._under_way.setdefault((tenant, sha256), asyncio.Lock())
        async with lock, self._slots:
            # Somebody else may have done it while this one waited.
            known = await self._look(tenant, [sha256])
            return known.get(sha256) or await self._make(tenant, file)

    async def _make(self, tenant: str, file: Attachment) -> PreparedFile:
        sha256 = str(file.sha256)
        try:
            content = await self.read(tenant, sha256)
        except FileNotStored:
            return _GONE
        prepared = await self._prepare(content, file.filename, file.mime_type or "")
        if not prepared.is_final:
            return PreparedFile(problem=prepared.problem)
        for picture in preparations.pictures_of(prepared).values():
            made = hash_of(picture.content).hexdigest()
            await asyncio.to_thread(self._store.put, tenant, made, picture.content, picture.media_type)
        await self._database.run_async(
            partial(preparations.write, tenant=tenant, file=file, prepared=prepared)
        )
        return (await self._look(tenant, [sha256]))[sha256]
