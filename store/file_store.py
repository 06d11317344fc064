"""`FileStore`: attachments for library users, over a folder, a bucket, or memory.

What stays true: a file is addressed by its tenant and hash, so a path never comes from outside;
limits and types are checked against the bytes before anything is written.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Self

from conversation.arguments import check_instance
from conversation.attachment import Attachment
from conversation.errors import FileNotStored, InvalidInput
from conversation.media_types import UNKNOWN_TYPE
from conversation.validation import check_sha256, check_tenant, check_text
from store.blobs import BlobStore, open_file_store
from store.media_types.examine import examine_file
from store.settings import Settings, load

#: Characters of a folder's path, or of the address of a bucket, at most: as many as Linux takes.
PATH_MAX_CHARS = 4096
#: The life of an address that `url` returns.
URL_EXPIRES = timedelta(hours=1)


class FileStore:
    """Saves and reads files, for one tenant."""

    def __init__(self, blobs: BlobStore, settings: Settings, *, tenant: str = "default") -> None:
        self.blobs = blobs
        self.settings = settings
        self.tenant = check_tenant(tenant)

    @classmethod
    async def create(
        cls, base_path: str | Path | None = None, *, tenant: str = "default", settings: Settings | None = None
    ) -> Self:
        """A store in a folder, in a bucket (`s3://bucket/prefix`) or in `memory:`; else, the settings' own.

        Limits, types and the keys of S3 come from the settings. Raises `InvalidSettings`.
        """
        settings = settings or load()
        if base_path is not None:
            if not isinstance(base_path, Path):
                check_text("base_path", base_path, max_chars=PATH_MAX_CHARS)
            settings = settings.model_copy(update={"file_store_url": str(base_path)})
        return cls(open_file_store(settings), settings, tenant=tenant)

    async def save(
        self, content: bytes, filename: str, *, media_type: str | None = None, mime_type: str | None = None
    ) -> Attachment:
        """Store a file; saving the same bytes again changes nothing.

        `mime_type` is another name of `media_type`. Raises `FileRejected` (empty, too large, a type that
        is not allowed or not what it says it is), `InvalidInput` (its name) and `FileStoreUnavailable`
        (a full disk, a server that is away).
        """
        attachment = await asyncio.to_thread(
            self.examine_file,
            Attachment(filename=filename, content=content, media_type=media_type, mime_type=mime_type),
        )
        await asyncio.to_thread(self.put, attachment)
        return replace(attachment, content=None)

    async def get(self, file: Attachment | str) -> bytes:
        """The bytes of a file, by its attachment or hash. Raises `FileNotStored`."""
        return await asyncio.to_thread(self.blobs.get, self.tenant, _sha256(file))

    async def delete(self, file: Attachment | str) -> None:
        """Remove the bytes. Messages that point to them will say that the file is no longer stored."""
        await asyncio.to_thread(self.blobs.delete, self.tenant, _sha256(file))

    async def list(self) -> Sequence[str]:
        """The hashes of all files, ascending."""
        return await asyncio.to_thread(lambda: tuple(blob.sha256 for blob in self.blobs.list(self.tenant)))

    async def url(self, file: Attachment, *, expires: timedelta = URL_EXPIRES, inline: bool = False) -> str:
        """Where a browser can fetch the file until it expires; a `file://` address for a folder.

        It is saved under its name; `inline` lets a browser show it, if it is a PNG, JPEG, GIF or WebP.
        """
        check_instance("file", file, Attachment).check()
        return await asyncio.to_thread(
            lambda: self.blobs.url(
                self.tenant,
                _sha256(file),
                expires=expires,
                filename=file.filename,
                media_type=file.media_type or UNKNOWN_TYPE,
                inline=inline,
            )
        )

    async def close(self) -> None:
        """Release the connections."""
        await asyncio.to_thread(self.blobs.close)

    def examine_file(self, attachment: Attachment) -> Attachment:
        """Examine an attachment; returns it with the type that its bytes have. Raises `FileRejected`."""
        check_instance("attachment", attachment, Attachment).check()
        return examine_file(
            attachment, max_bytes=self.settings.attachment_max_bytes, allowed=self.settings.attachment_types
        )

    def put(self, attachment: Attachment, *, tenant: str | None = None) -> None:
        """Store the bytes of an examined attachment, blocking. Raises as `save`."""
        check_instance("attachment", attachment, Attachment).check()
        if attachment.content is None or attachment.sha256 is None:
            raise InvalidInput("attachment", "has no bytes", "pass one that was made with content")
        owner = self.tenant if tenant is None else tenant
        self.blobs.put(owner, attachment.sha256, attachment.content, attachment.media_type or "")


def _sha256(file: Attachment | str) -> str:
    if isinstance(file, Attachment):
        if file.sha256 is None:
            raise FileNotStored("this attachment has not been stored yet")
        return file.sha256
    return check_sha256("file", file)
