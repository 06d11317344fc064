"""The files of new messages: examined and stored, so that rows may point to them."""

import asyncio
from collections.abc import Sequence

from conversation.attachment import Attachment
from conversation.message import Message
from store.database.engine import Database
from store.file_store import FileStore
from store.files.blob_rows import lock_stored
from store.files.ingest import FileIngest


async def store_files_of(database: Database, files: FileStore, tenant: str, messages: Sequence[Message]) -> None:
    """Store the bytes of the attachments of messages; each becomes one that was examined."""
    for message in messages:
        message.attachments[:] = [await _examine(database, files, tenant, f) for f in message.attachments]
    ingest = FileIngest(database, files.blobs)
    await ingest.store_async(tenant, [file for message in messages for file in message.attachments])


async def _examine(database: Database, files: FileStore, tenant: str, file: Attachment) -> Attachment:
    """Examine a file; where only the file store has it, its bytes are read for the row to describe."""
    if file.content is None:
        stored_rows = await database.run_async(lock_stored, tenant=tenant, files=[file])
        if stored_rows or not await asyncio.to_thread(files.blobs.exists, tenant, str(file.sha256)):
            return file
        content = await asyncio.to_thread(files.blobs.get, tenant, str(file.sha256))
        file = Attachment(filename=file.filename, content=content)
    # Milliseconds; more for a text that does not say its encoding.
    return await asyncio.to_thread(files.examine_file, file)
