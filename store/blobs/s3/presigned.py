"""Uploads of browsers into a bucket: `prefix/tenant/staging/<upload id>`, and from there to the blobs.

What stays true: nothing reaches the address of a blob but bytes that were read here and have its
hash. The signature of an upload binds key, length, type and SHA-256, and how the object is kept.
"""

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from conversation.errors import FileNotStored, FileRefused, FileStoreUnavailable, InvalidInput
from conversation.validation import check_tenant
from store.blobs.presigned import PresignedUpload, StagedUpload, check_upload_id, is_upload_id
from store.blobs.protocol import check_address, check_expires
from store.blobs.s3.bucket import S3Place
from store.blobs.s3.checksums import checksum
from store.blobs.s3.deletion import delete_object
from store.blobs.s3.multipart import copy_object
from store.blobs.s3.resumable_read import Reading, reading

#: Bytes of one PUT, says S3; a browser sends no parts.
UPLOAD_MAX_BYTES = 5 * 1024**3

#: How boto3's names of `S3Options.kept_as` are spelt on the wire.
HEADERS = {
    "ServerSideEncryption": "x-amz-server-side-encryption",
    "SSEKMSKeyId": "x-amz-server-side-encryption-aws-kms-key-id",
    "StorageClass": "x-amz-storage-class",
}

_MEDIA_TYPE = re.compile(r"[\w!#$&^.+-]{1,127}/[\w!#$&^.+-]{1,127}", re.ASCII)


class S3Uploads:
    """The verbs of uploads, for a store in a bucket."""

    _place: S3Place

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
        kept_as = self._place.options.kept_as()
        signed_at = datetime.now(UTC)
        with self._place.translated() as client:
            url = client.generate_presigned_url(
                "put_object",
                Params={
                    "Bucket": self._place.bucket,
                    "Key": key,
                    "ContentLength": size,
                    "ContentType": media_type,
                    "ChecksumSHA256": checksum(sha256),
                    **kept_as,
                },
                ExpiresIn=seconds,
            )
        headers = {"Content-Type": media_type, "x-amz-checksum-sha256": checksum(sha256)}
        headers |= {HEADERS[name]: value for name, value in kept_as.items()}
        return PresignedUpload(url, "PUT", headers, signed_at + timedelta(seconds=seconds))

    def uploaded_size(self, tenant: str, upload_id: str) -> int | None:
        return self._place.size_in_bucket(self._staging_key(tenant, upload_id))

    @contextmanager
    def read_upload(self, tenant: str, upload_id: str) -> Iterator[Iterator[bytes]]:
        with self._uploaded(tenant, upload_id) as upload:
            yield iter(upload)

    def adopt_upload(self, tenant: str, upload_id: str, sha256: str, media_type: str) -> None:
        key = self._place.key(tenant, sha256)
        with self._uploaded(tenant, upload_id) as upload:
            size = _check_uploaded(upload_id, sha256, upload)
            etag = upload.etag
        # Only now: whoever names the hash of a blob that is there must have its bytes too.
        kept = self._place.head(key)
        if kept and kept["ETag"] == etag:
            return
        described = self._place.described(sha256, media_type)
        copy_object(self._place, self._staging_key(tenant, upload_id), key, etag=etag, size=size, **described)
        if self._place.size_in_bucket(key) != size:
            delete_object(self._place, key)
            raise FileStoreUnavailable(f"{self._place}: a copy has another size than its source; try again")

    def discard_upload(self, tenant: str, upload_id: str) -> None:
        delete_object(self._place, self._staging_key(tenant, upload_id))

    def list_uploads(self, tenant: str) -> Iterator[StagedUpload]:
        check_tenant(tenant)
        folder = f"{self._place.prefix}{tenant}/staging/"
        for page in self._place.listing(Prefix=folder):
            for item in page.get("Contents", ()):
                upload_id = item["Key"].removeprefix(folder)
                if is_upload_id(upload_id):
                    yield StagedUpload(upload_id, item["Size"], item["LastModified"])

    @contextmanager
    def _uploaded(self, tenant: str, upload_id: str) -> Iterator[Reading]:
        missing = FileNotStored(
            f"upload {upload_id} of tenant {tenant} is not there; "
            "upload it, and ask for a new URL if it is too old"
        )
        with reading(self._place, self._staging_key(tenant, upload_id), missing) as upload:
            yield upload

    def _staging_key(self, tenant: str, upload_id: str) -> str:
        check_tenant(tenant)
        return f"{self._place.prefix}{tenant}/staging/{check_upload_id(upload_id)}"


def _check_upload(size: int, media_type: str) -> None:
    if not 0 <= size <= UPLOAD_MAX_BYTES:
        raise InvalidInput(
            "size", f"is {size}", f"pass the file's length in bytes, at most {UPLOAD_MAX_BYTES}"
        )
    if not _MEDIA_TYPE.fullmatch(media_type):
        raise InvalidInput("media_type", "is no media type", "pass one like image/png, without parameters")


def _check_uploaded(upload_id: str, sha256: str, upload: Reading) -> int:
    found, size = hashlib.sha256(), 0
    for piece in upload:
        found.update(piece)
        size += len(piece)
    if found.hexdigest() != sha256:
        raise FileRefused(
            f"upload {upload_id}: its {size} bytes have the hash {found.hexdigest()}, not {sha256}; "
            "discard it and upload the file again"
        )
    return size
