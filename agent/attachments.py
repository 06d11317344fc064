"""Files of messages as the model sees them: images as images, documents as their text.

What stays true: a file that cannot be read is told to the model in a sentence; it never fails the
turn. Text is extracted once and kept by whoever stores the bytes.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from agent.extract import extract_text
from agent.request import image_part, text_part
from conversation.attachment import Attachment
from conversation.errors import FileNotStored
from conversation.message import Message

#: Files that are read at once: each may hold its bytes and a child process.
READ_AT_ONCE = 4


class FileReader(Protocol):
    """Where the bytes are, and the text that was found in them before."""

    async def read(self, tenant: str, sha256: str) -> bytes:
        """Raises `FileNotStored` and `FileStoreUnavailable`."""
        ...

    async def save(self, tenant: str, file: Attachment) -> Attachment:
        """Raises `FileRefused` and `FileStoreUnavailable`."""
        ...

    async def text_of(self, tenant: str, sha256: str) -> str | None:
        """The text that `keep_text` kept, or None."""
        ...

    async def keep_text(self, tenant: str, sha256: str, text: str) -> None: ...


class AttachmentParts:
    """Makes content parts of attachments, for one process."""

    def __init__(self, files: FileReader) -> None:
        self._files = files
        self._slots = asyncio.Semaphore(READ_AT_ONCE)

    async def store(self, tenant: str, file: Attachment) -> Attachment:
        """Keep a file that a tool brought. Raises `FileRefused` and `FileStoreUnavailable`."""
        return await self._files.save(tenant, file)

    async def parts(
        self, tenant: str, messages: Sequence[Message]
    ) -> Mapping[str, Sequence[Mapping[str, Any]]]:
        """Content parts by message id. Raises `FileStoreUnavailable`."""
        with_files = [message for message in messages if message.attachments]
        found = await asyncio.gather(*(self._parts_of(tenant, message) for message in with_files))
        return {message.id: parts for message, parts in zip(with_files, found, strict=True)}

    async def _parts_of(self, tenant: str, message: Message) -> list[Mapping[str, Any]]:
        return list(await asyncio.gather(*(self._part(tenant, file) for file in message.attachments)))

    async def _part(self, tenant: str, file: Attachment) -> Mapping[str, Any]:
        assert file.sha256 is not None
        async with self._slots:
            try:
                if (file.mime_type or "").startswith("image/"):
                    return image_part(await self._files.read(tenant, file.sha256), file.mime_type or "")
                return text_part(file.filename, await self._text(tenant, file.sha256, file.mime_type or ""))
            except FileNotStored:
                return text_part(file.filename, "[This file is no longer stored.]")

    async def _text(self, tenant: str, sha256: str, media_type: str) -> str:
        kept = await self._files.text_of(tenant, sha256)
        if kept is not None:
            return kept
        found = await extract_text(await self._files.read(tenant, sha256), media_type)
        notes = [found.text, "[The file goes on; this is its beginning.]" if found.truncated else ""]
        text = "\n".join(note for note in (*notes, f"[{found.problem}]" if found.problem else "") if note)
        await self._files.keep_text(tenant, sha256, text)
        return text
