"""Files for a runner of turns, on the event loop: bytes in the file store, text in the database."""

import asyncio
from dataclasses import replace
from functools import partial

from sqlalchemy import Connection, select, update

from conversation.attachment import Attachment
from store.engine import Database
from store.file_store import FileStore
from store.files import BlobStore
from store.keeping import Keeper
from store.tables import blobs


class StoredFiles:
    """The blobs of one installation, and the text that was extracted from them."""

    def __init__(self, store: BlobStore, database: Database) -> None:
        self._store = store
        self._database = database

    async def read(self, tenant: str, sha256: str) -> bytes:
        """The bytes. Raises `FileNotStored` and `FileStoreUnavailable`."""
        return await asyncio.to_thread(self._store.get, tenant, sha256)

    async def save(self, tenant: str, file: Attachment) -> Attachment:
        """Store a file, examined as one that a user sends. Raises `FileRefused`, `FileStoreUnavailable`."""
        files = FileStore(self._store, self._database.settings, tenant=tenant)
        examined = files.examined(replace(file, mime_type=None))
        await Keeper(self._database, self._store).keep_async(tenant, [examined])
        return replace(examined, content=None)

    async def text_of(self, tenant: str, sha256: str) -> str | None:
        """The text that was kept for this blob, if it was."""
        return await self._database.run_async(partial(_text_of, tenant=tenant, sha256=sha256))

    async def keep_text(self, tenant: str, sha256: str, text: str) -> None:
        """Keep extracted text beside its blob: the same bytes give the same text, whoever writes it."""
        await self._database.run_async(partial(_keep_text, tenant=tenant, sha256=sha256, text=text))


def _text_of(connection: Connection, tenant: str, sha256: str) -> str | None:
    statement = select(blobs.c.text).where(blobs.c.tenant == tenant, blobs.c.sha256 == sha256)
    return connection.execute(statement).scalar_one_or_none()


def _keep_text(connection: Connection, tenant: str, sha256: str, text: str) -> None:
    mine = (blobs.c.tenant == tenant) & (blobs.c.sha256 == sha256)
    connection.execute(update(blobs).where(mine).values(text=text))
