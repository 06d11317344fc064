"""Files past the backend: a client puts its file into the store by itself, and fetches files from there.

What stays true: an address is good for one key, one size, one type and one hash, and for a while; a
file is looked at before a message may have it; nobody gets an address of a file that a scanner has
not passed.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

from sqlalchemy import Connection

from conversation.attachment import Attachment
from conversation.errors import FileNotStored, FileRefused, InvalidInput, UploadIncomplete
from conversation.ids import new_id
from conversation.validation import check_tenant, check_tenant_of_user
from store.blobs import BlobStore
from store.blobs.protocol import check_sha256
from store.database.engine import Database
from store.files import access, uploads
from store.files.blob_rows import Announced, announce, confirm
from store.media_types.examine import examine_sample
from store.media_types.sample import HEAD_BYTES, TAIL_BYTES, Sample
from store.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """Where a client may put one file: pass `url`, `method` and `headers` on to it as they are."""

    id: str
    method: str
    #: Holds a signature: whoever has it can put this one file, until it expires.
    url: str = field(repr=False)
    #: All of them have to be sent, with these values.
    headers: Mapping[str, str] = field(repr=False)
    expires_at: datetime


class Uploads:
    """The verbs of one installation. All of them block."""

    def __init__(self, database: Database, blobs: BlobStore, settings: Settings) -> None:
        self._database = database
        self._blobs = blobs
        self._settings = settings
        self._scans = bool(settings.scanner_url)

    def create(
        self, filename: str, media_type: str, size: int, sha256: str, *, tenant: str = "default"
    ) -> Upload:
        """See `producers.create_upload`."""
        file = self._promised(filename, media_type, size, sha256)
        upload_id, seconds = new_id(), self._settings.upload_expires_seconds
        signed = self._blobs.upload_url(
            check_tenant_of_user(tenant),
            upload_id,
            sha256=sha256,
            size=size,
            media_type=media_type,
            expires=timedelta(seconds=seconds),
        )
        promised = self._database.run(
            partial(
                uploads.create,
                upload_id=upload_id,
                tenant=tenant,
                file=file,
                expires_seconds=seconds,
                max_bytes=self._settings.tenant_max_bytes,
            )
        )
        return Upload(
            id=upload_id,
            method=signed.method,
            url=signed.url,
            headers=signed.headers,
            expires_at=promised.expires_at,
        )

    def complete(self, upload_id: str, *, tenant: str = "default") -> Attachment:
        """See `producers.complete_upload`."""
        upload = self._database.run(partial(uploads.read, tenant=check_tenant(tenant), upload_id=upload_id))
        if not upload.is_complete:
            try:
                self._complete(upload)
            except (UploadIncomplete, FileNotStored):
                # Another call may have completed it meanwhile, and taken away what was put.
                read = partial(uploads.read, tenant=tenant, upload_id=upload_id)
                if not self._database.run(read).is_complete:
                    raise
        return self._database.run(partial(access.stored_file, tenant=tenant, file=upload.file))

    def _complete(self, upload: uploads.Upload) -> None:
        tenant, file = upload.tenant, self._verified(upload)
        announced = self._database.run(partial(announce, tenant=tenant, files=[file], scans=self._scans))
        # Copied before the row says so, and removed only after: a death in between costs a second copy.
        self._blobs.adopt_upload(tenant, upload.id, str(file.sha256), file.mime_type or "")
        self._database.run(partial(_completed, upload=upload, announced=announced))
        self._blobs.discard_upload(tenant, upload.id)

    def url(
        self, file: Attachment, *, tenant: str = "default", expires: timedelta, inline: bool = False
    ) -> str:
        """See `producers.file_url`."""
        show = partial(access.passed, tenant=check_tenant(tenant), file=file, scans=self._scans)
        found = self._database.run(show)
        return self._url(found, tenant, expires, inline=inline)

    def thumbnail_url(self, file: Attachment, *, tenant: str = "default", expires: timedelta) -> str | None:
        """See `producers.thumbnail_url`."""
        show = partial(access.thumbnail, tenant=check_tenant(tenant), file=file, scans=self._scans)
        found = self._database.run(show)
        return None if found is None else self._url(found, tenant, expires, inline=True)

    def _url(self, file: Attachment, tenant: str, expires: timedelta, *, inline: bool) -> str:
        return self._blobs.url(
            tenant,
            str(file.sha256),
            expires=expires,
            filename=file.filename,
            media_type=file.mime_type or "application/octet-stream",
            inline=inline,
        )

    def _promised(self, filename: str, media_type: str, size: int, sha256: str) -> Attachment:
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise InvalidInput("size", f"is {size!r}", "pass the file's number of bytes, 1 or more")
        if size > self._settings.upload_max_bytes:
            raise FileRefused(
                f"{filename!r} has {size} bytes, at most {self._settings.upload_max_bytes} are accepted; "
                "send a smaller file, or raise THREADMILL_UPLOAD_MAX_BYTES"
            )
        if not isinstance(media_type, str) or "/" not in media_type or not media_type.isascii():
            raise InvalidInput(
                "media_type", f"is {media_type!r}", "pass the type that the client will send, as image/png"
            )
        check_sha256("sha256", sha256)
        return Attachment(filename=filename, mime_type=media_type, size=size, sha256=sha256)

    def _verified(self, upload: uploads.Upload) -> Attachment:
        """The file with the type that its bytes have. Raises `UploadIncomplete`, `FileRefused`."""
        said = upload.file
        sample, sha256 = self._read(upload)
        if sample.size != said.size or sha256 != said.sha256:
            raise UploadIncomplete(
                f"upload {upload.id!r}: {sample.size} bytes of the hash {sha256} were put, "
                f"and {said.size} of {said.sha256} were promised; put the file again, or create a new upload"
            )
        media_type = examine_sample(
            said.filename,
            sample.head,
            sample.tail,
            sample.size,
            said.mime_type,
            max_bytes=self._settings.upload_max_bytes,
            allowed=self._settings.attachment_types,
        )
        return Attachment(filename=said.filename, mime_type=media_type, size=said.size, sha256=said.sha256)

    def _read(self, upload: uploads.Upload) -> tuple[Sample, str]:
        """What was put, read once from end to end: its two ends, its size and its hash."""
        digest, size, head, tail = hashlib.sha256(), 0, b"", b""
        try:
            with self._blobs.read_upload(upload.tenant, upload.id) as chunks:
                for chunk in chunks:
                    digest.update(chunk)
                    size += len(chunk)
                    head += chunk[: HEAD_BYTES - len(head)]
                    tail = (tail + chunk)[-TAIL_BYTES:]
                    if size > (upload.file.size or 0):
                        break  # too long already; no server has to be read to its end
        except FileNotStored:
            raise UploadIncomplete(
                f"upload {upload.id!r}: nothing was put yet; put the file at its address first"
            ) from None
        return Sample(head, tail, size), digest.hexdigest()


def _completed(connection: Connection, upload: uploads.Upload, announced: Mapping[str, Announced]) -> None:
    confirm(connection, upload.tenant, announced)
    uploads.complete(connection, upload.id)
