"""Files past the backend: a client puts its file into the store by itself, and fetches files from there.

What stays true: an address is good for one key, one size, one type and one hash, and for a while; a
file is examined before a message may have it; no client gets an address of a file that a scanner
has not passed.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from tempfile import SpooledTemporaryFile
from typing import BinaryIO, cast

from sqlalchemy import Connection

from conversation.arguments import check_instance, check_whole_number
from conversation.attachment import SIZE_MAX, Attachment
from conversation.errors import FileNotStored, FileRejected, FileStoreUnavailable, InvalidInput, UploadIncomplete
from conversation.ids import new_id
from conversation.media_types import UNKNOWN_TYPE
from conversation.quotation import quote
from conversation.validation import check_id, check_sha256, check_tenant, check_tenant_of_user
from store.blobs import BlobStore
from store.database.engine import Database
from store.files import access, uploads
from store.files.attachments import find_thread_file
from store.files.blob_rows import Reservation, confirm, reserve
from store.media_types.examine import examine_sample, is_searched_whole
from store.media_types.sample import HEAD_BYTES, TAIL_BYTES, Sample
from store.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """An address for the PUT of one file: pass `url`, `method` and `headers` on to it as they are."""

    id: str
    method: str
    #: Holds a signature: whoever has it can put this one file, until it expires.
    url: str = field(repr=False)
    #: All of them have to be sent, with these values.
    headers: Mapping[str, str] = field(repr=False)
    expires_at: datetime


class Uploads:
    """The uploads of one installation. All methods block."""

    def __init__(self, database: Database, blobs: BlobStore, settings: Settings) -> None:
        self._database = database
        self._blobs = blobs
        self._settings = settings
        self._scans = bool(settings.scanner_url)

    def create(
        self,
        filename: str,
        media_type: str,
        size: int,
        sha256: str,
        *,
        tenant: str = "default",
        user: str | None = None,
        upload_id: str | None = None,
    ) -> Upload:
        """See `producers.create_upload`; with `user`, nobody else completes or attaches it over HTTP.

        With an `upload_id` of the caller's own making, it may be called again.
        """
        file = self._check_declaration(filename, media_type, size, sha256)
        upload_id, seconds = upload_id or new_id(), self._settings.upload_max_age_seconds
        address = self._blobs.upload_url(
            check_tenant_of_user(tenant),
            upload_id,
            sha256=str(file.sha256),
            size=int(file.size or 0),
            media_type=str(file.media_type),
            expires=timedelta(seconds=seconds),
        )
        upload = self._database.acting_for(tenant).run(
            uploads.create,
            upload_id=upload_id,
            tenant=tenant,
            file=file,
            expires_seconds=seconds,
            max_bytes=self._settings.tenant_max_bytes,
            owner=user,
        )
        return Upload(
            id=upload_id, method=address.method, url=address.url, headers=address.headers, expires_at=upload.expires_at
        )

    def complete(self, upload_id: str, *, tenant: str = "default", user: str | None = None) -> Attachment:
        """See `producers.complete_upload`."""
        database = self._database.acting_for(tenant)
        upload = database.run(uploads.read, tenant=check_tenant(tenant), upload_id=upload_id, owner=user)
        if not upload.is_complete:
            try:
                self._complete(upload)
            except (UploadIncomplete, FileNotStored):
                # Another call may have completed it meanwhile, and removed what was put.
                read = partial(uploads.read, tenant=tenant, upload_id=upload_id)
                if not database.run(read).is_complete:
                    raise
        return database.run(access.load_stored_file, tenant=tenant, file=upload.file)

    def _complete(self, upload: uploads.Upload) -> None:
        tenant, file = upload.tenant, self._verify_upload(upload)
        database = self._database.acting_for(tenant)
        reservations = database.run(reserve, tenant=tenant, files=[file], scans=self._scans)
        # Copied before the row says so, and removed only after: a death in between costs a second copy.
        self._blobs.adopt_upload(tenant, upload.id, str(file.sha256), file.media_type or "")
        database.run(_confirm_completion, upload=upload, reservations=reservations)
        self._blobs.discard_upload(tenant, upload.id)

    def find(self, thread_id: str, sha256: str, *, tenant: str = "default") -> Attachment:
        """See `producers.find_file`."""
        of_thread = {"tenant": check_tenant(tenant), "thread_id": check_id("thread_id", thread_id)}
        database = self._database.acting_for(tenant)
        return database.run(find_thread_file, **of_thread, sha256=check_sha256("sha256", sha256))

    def read(self, file: Attachment, *, tenant: str = "default") -> bytes:
        """See `producers.read_file`."""
        stored_file = self._load_downloadable(file, tenant)
        return self._blobs.get(tenant, str(stored_file.sha256))

    def url(self, file: Attachment, *, tenant: str = "default", expires: timedelta, inline: bool = False) -> str:
        """See `producers.file_url`."""
        return self._url(self._load_downloadable(file, tenant), tenant, expires, inline=inline)

    def thumbnail_url(self, file: Attachment, *, tenant: str = "default", expires: timedelta) -> str | None:
        """See `producers.thumbnail_url`."""
        check_instance("file", file, Attachment).check()
        database = self._database.acting_for(tenant)
        thumbnail = database.run(access.load_thumbnail, tenant=check_tenant(tenant), file=file, scans=self._scans)
        return None if thumbnail is None else self._url(thumbnail, tenant, expires, inline=True)

    def _load_downloadable(self, file: Attachment, tenant: str) -> Attachment:
        check_instance("file", file, Attachment).check()
        return self._database.acting_for(tenant).run(
            access.load_downloadable_file, tenant=check_tenant(tenant), file=file, scans=self._scans
        )

    def _url(self, file: Attachment, tenant: str, expires: timedelta, *, inline: bool) -> str:
        return self._blobs.url(
            tenant,
            str(file.sha256),
            expires=expires,
            filename=file.filename,
            media_type=file.media_type or UNKNOWN_TYPE,
            inline=inline,
        )

    def _check_declaration(self, filename: str, media_type: str, size: int, sha256: str) -> Attachment:
        fix = "pass the file's number of bytes, 1 or more"
        size = check_whole_number("size", size, minimum=1, maximum=SIZE_MAX, fix=fix)
        if size > self._settings.upload_max_bytes:
            raise FileRejected(
                f"{quote(filename)} has {size} bytes, at most {self._settings.upload_max_bytes} are accepted; "
                "send a smaller file, or raise THREADMILL_UPLOAD_MAX_BYTES"
            )
        written_type = str.__str__(media_type) if isinstance(media_type, str) else ""
        if "/" not in written_type or not written_type.isascii():
            raise InvalidInput(
                "media_type", f"is {quote(media_type)}", "pass the type that the client will send, as image/png"
            )
        check_sha256("sha256", sha256)
        return Attachment(filename=filename, media_type=media_type, size=size, sha256=sha256)

    def _verify_upload(self, upload: uploads.Upload) -> Attachment:
        """The file with the type of its checked bytes. Raises `UploadIncomplete`, `FileRejected`."""
        declared_file = upload.file
        # What a document holds stands anywhere in it, so that it is kept on disk meanwhile, as a form's files are.
        with SpooledTemporaryFile(max_size=HEAD_BYTES) as kept:
            sample, sha256 = self._read(upload, cast("BinaryIO", kept))
            if sample.size != declared_file.size or sha256 != declared_file.sha256:
                raise UploadIncomplete(
                    f"upload {upload.id!r}: {sample.size} bytes of the hash {sha256} were put, "
                    f"and {declared_file.size} of {declared_file.sha256} were promised; "
                    "put the file again, or create a new upload"
                )
            media_type = examine_sample(
                declared_file.filename,
                sample,
                declared_file.media_type,
                max_bytes=self._settings.upload_max_bytes,
                allowed=self._settings.attachment_types,
            )
        return replace(declared_file, media_type=media_type)

    def _read(self, upload: uploads.Upload, kept: BinaryIO) -> tuple[Sample, str]:
        """Read the put bytes once from end to end: their two ends, their size and their hash.

        Of a document, all bytes are `kept`. Raises `FileStoreUnavailable` where there is no room for them.
        """
        digest, size, head, tail, is_kept = hashlib.sha256(), 0, b"", b"", False
        try:
            with self._blobs.read_upload(upload.tenant, upload.id) as chunks:
                for chunk in chunks:
                    is_kept = is_kept if size else is_searched_whole(chunk)
                    if is_kept:
                        _keep(chunk, kept)
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
        return Sample.from_ends(head, tail, size, kept if is_kept else None), digest.hexdigest()


def _keep(chunk: bytes, kept: BinaryIO) -> None:
    try:
        kept.write(chunk)
    except OSError as error:
        raise FileStoreUnavailable(
            f"cannot look into an upload ({error.strerror}); give the folder of temporary files more room"
        ) from error


def _confirm_completion(
    connection: Connection, upload: uploads.Upload, reservations: Mapping[str, Reservation]
) -> None:
    confirm(connection, upload.tenant, reservations)
    uploads.complete(connection, upload.id)
