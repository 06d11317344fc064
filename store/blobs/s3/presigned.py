"""Uploads of browsers into a bucket: `prefix/tenant/staging/<upload id>`, and from there to the blobs.

What stays true: nothing reaches the address of a blob but bytes that were read here and have its
hash. The signature of an upload binds key, length, type and SHA-256, and how the object is kept.
"""

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from conversation.errors import FileNotStored, FileRejected, FileStoreUnavailable, InvalidInput
from conversation.validation import check_tenant
from store.blobs.presigned import PresignedUpload, StagedUpload, check_upload_id, is_upload_id
from store.blobs.protocol import check_address, check_expires
from store.blobs.s3.bucket import S3Bucket
from store.blobs.s3.checksums import checksum
from store.blobs.s3.deletion import delete_object
from store.blobs.s3.multipart import copy_object
from store.blobs.s3.resumable_read import ResumableRead, open_object

#: Bytes of one PUT, says S3; a browser sends no parts.
UPLOAD_MAX_BYTES = 5 * 1024**3

#: Headers on the wire, by boto3's names in `S3Options.storage_options`.
HEADERS = {
    "ServerSideEncryption": "x-amz-server-side-encryption",
    "SSEKMSKeyId": "x-amz-server-side-encryption-aws-kms-key-id",
    "StorageClass": "x-amz-storage-class",
}

_MEDIA_TYPE = re.compile(r"[\w!#$&^.+-]{1,127}/[\w!#$&^.+-]{1,127}", re.ASCII)


class S3Uploads:
    """The verbs of uploads, for a store in a bucket."""

    _bucket: S3Bucket

    def upload_url(
        self, tenant: str, upload_id: str, *, sha256: str, size: int, media_type: str, expires: timedelta
    ) -> PresignedUpload:
        """A PUT that the server refuses for another key, length, type or checksum header, or too late.

        Whether the bytes have the checksum is for the server to compare, and not every one that speaks
        S3 does: do not rely on it. `adopt_upload` reads them, whatever the server compared.
        """
        key = self._staging_key(tenant, upload_id)
        check_address(tenant, sha256)
        _check_upload(size, media_type)
        seconds = check_expires(expires)
        storage_options = self._bucket.options.storage_options()
        signed_at = datetime.now(UTC)
        with self._bucket.use_client() as client:
            url = client.generate_presigned_url(
                "put_object",
                Params={
                    "Bucket": self._bucket.name,
                    "Key": key,
                    "ContentLength": size,
                    "ContentType": media_type,
                    "ChecksumSHA256": checksum(sha256),
                    **storage_options,
                },
                ExpiresIn=seconds,
            )
        headers = {"Content-Type": media_type, "x-amz-checksum-sha256": checksum(sha256)}
        headers |= {HEADERS[name]: value for name, value in storage_options.items()}
        return PresignedUpload(url, "PUT", headers, signed_at + timedelta(seconds=seconds))

    @contextmanager
    def read_upload(self, tenant: str, upload_id: str) -> Iterator[Iterator[bytes]]:
        with self._open_upload(tenant, upload_id) as upload:
            yield iter(upload)

    def adopt_upload(self, tenant: str, upload_id: str, sha256: str, media_type: str) -> None:
        key = self._bucket.key(tenant, sha256)
        with self._open_upload(tenant, upload_id) as upload:
            size = _check_uploaded_bytes(upload_id, sha256, upload)
            etag = upload.etag
        # Only now: a client that names the hash of a stored blob must have its bytes too.
        head = self._bucket.head(key)
        if head and head["ETag"] == etag:
            return
        object_options = self._bucket.object_options(sha256, media_type)
        copy_object(self._bucket, self._staging_key(tenant, upload_id), key, etag=etag, size=size, **object_options)
        if self._bucket.get_size(key) != size:
            delete_object(self._bucket, key)
            raise FileStoreUnavailable(f"{self._bucket}: a copy has another size than its source; try again")

    def discard_upload(self, tenant: str, upload_id: str) -> None:
        delete_object(self._bucket, self._staging_key(tenant, upload_id))

    def list_uploads(self, tenant: str) -> Iterator[StagedUpload]:
        check_tenant(tenant)
        folder = f"{self._bucket.prefix}{tenant}/staging/"
        for page in self._bucket.list_pages(Prefix=folder):
            for item in page.get("Contents", ()):
                upload_id = item["Key"].removeprefix(folder)
                if is_upload_id(upload_id):
                    yield StagedUpload(upload_id, item["Size"], item["LastModified"])

    @contextmanager
    def _open_upload(self, tenant: str, upload_id: str) -> Iterator[ResumableRead]:
        missing_error = FileNotStored(
            f"upload {upload_id} of tenant {tenant} is not there; upload it, and ask for a new URL if it is too old"
        )
        with open_object(self._bucket, self._staging_key(tenant, upload_id), missing_error) as upload:
            yield upload

    def _staging_key(self, tenant: str, upload_id: str) -> str:
        check_tenant(tenant)
        return f"{self._bucket.prefix}{tenant}/staging/{check_upload_id(upload_id)}"


def _check_upload(size: int, media_type: str) -> None:
    if not 0 <= size <= UPLOAD_MAX_BYTES:
        raise InvalidInput("size", f"is {size}", f"pass the file's length in bytes, at most {UPLOAD_MAX_BYTES}")
    if not _MEDIA_TYPE.fullmatch(media_type):
        raise InvalidInput("media_type", "is no media type", "pass one like image/png, without parameters")


def _check_uploaded_bytes(upload_id: str, sha256: str, upload: ResumableRead) -> int:
    digest, size = hashlib.sha256(), 0
    for piece in upload:
        digest.update(piece)
        size += len(piece)
    if digest.hexdigest() != sha256:
        raise FileRejected(
            f"upload {upload_id}: its {size} bytes have the hash {digest.hexdigest()}, not {sha256}; "
            "discard it and upload the file again"
        )
    return size
