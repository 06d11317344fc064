"""Blobs in a bucket of S3, or of a server that speaks like it: `prefix/tenant/sha256/ab/cdef…`.

What stays true: bytes that do not have the hash are never seen under its address: they are hashed
before and while they are sent, the server compares what arrived with a signed hash, and an object in
parts becomes one only after its last part was hashed too.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from conversation.validation import check_tenant, is_sha256
from store.blobs.download_headers import content_disposition, served_type
from store.blobs.hashing import Content, check_content, read_verified_pieces, verify_stored_pieces
from store.blobs.protocol import StoredBlob, check_after, check_expires, is_tenant, not_stored_error
from store.blobs.s3.bucket import S3Bucket, S3Options
from store.blobs.s3.checksums import checksum, is_whole
from store.blobs.s3.deletion import delete_folder, delete_object
from store.blobs.s3.multipart import part_bytes, send_in_parts
from store.blobs.s3.presigned import S3Uploads
from store.blobs.s3.resumable_read import open_object


class S3Blobs(S3Uploads):
    """Keeps blobs in a bucket, which has to exist. Needs the rights to get, put, delete and list."""

    def __init__(self, bucket: str, prefix: str = "", options: S3Options | None = None) -> None:
        self._bucket = S3Bucket(bucket, prefix, options or S3Options())

    def put(self, tenant: str, sha256: str, content: Content, media_type: str) -> None:
        key = self._bucket.key(tenant, sha256)
        size = check_content(sha256, content)
        head = self._bucket.head(key)
        if head and is_whole(head, sha256, content, size=size, part_bytes=part_bytes(self._bucket, size)):
            return
        object_options = self._bucket.object_options(sha256, media_type)
        if size >= self._bucket.options.multipart_bytes:
            send_in_parts(self._bucket, key, sha256, content, size=size, **object_options)
            return
        # In memory, where nothing writes to it between its last check and its upload.
        body = content if isinstance(content, bytes) else b"".join(read_verified_pieces(sha256, content))
        if self._bucket.options.sse == "aws:kms":
            # Or nothing would tell the next put that these bytes are there.
            object_options["ChecksumSHA256"] = checksum(sha256)
        with self._bucket.use_client() as client:
            client.put_object(Bucket=self._bucket.name, Key=key, Body=body, **object_options)

    def get(self, tenant: str, sha256: str) -> bytes:
        with self.open(tenant, sha256) as pieces:
            return b"".join(pieces)

    @contextmanager
    def open(self, tenant: str, sha256: str) -> Iterator[Iterator[bytes]]:
        key = self._bucket.key(tenant, sha256)
        with open_object(self._bucket, key, not_stored_error(tenant, sha256)) as pieces:
            yield verify_stored_pieces(tenant, sha256, iter(pieces))

    def exists(self, tenant: str, sha256: str) -> bool:
        return self._bucket.get_size(self._bucket.key(tenant, sha256)) is not None

    def delete(self, tenant: str, sha256: str) -> None:
        delete_object(self._bucket, self._bucket.key(tenant, sha256))

    def delete_tenant(self, tenant: str) -> int:
        check_tenant(tenant)
        return delete_folder(self._bucket, f"{self._bucket.prefix}{tenant}/")

    def list(self, tenant: str, *, after: str = "") -> Iterator[StoredBlob]:
        check_tenant(tenant)
        folder = f"{self._bucket.prefix}{tenant}/sha256/"
        start_after = {"StartAfter": self._bucket.key(tenant, after)} if check_after(after) else {}
        for page in self._bucket.list_pages(Prefix=folder, **start_after):
            for item in page.get("Contents", ()):
                sha256 = item["Key"].removeprefix(folder).replace("/", "", 1)
                if is_sha256(sha256) and item["Key"] == self._bucket.key(tenant, sha256):
                    yield StoredBlob(sha256, item["Size"], item["LastModified"])

    def list_tenants(self) -> Iterator[str]:
        folders = (
            folder["Prefix"].removeprefix(self._bucket.prefix).removesuffix("/")
            for page in self._bucket.list_pages(Prefix=self._bucket.prefix, Delimiter="/")
            for folder in page.get("CommonPrefixes", ())
        )
        # S3 sorts the slash along: to it `a-b/` comes before `a/`.
        yield from sorted(filter(is_tenant, folders))

    def url(
        self, tenant: str, sha256: str, *, expires: timedelta, filename: str, media_type: str, inline: bool = False
    ) -> str:
        key = self._bucket.key(tenant, sha256)
        seconds = check_expires(expires)
        with self._bucket.use_client() as client:
            return client.generate_presigned_url(
                "get_object",
                Params={
                    "Bucket": self._bucket.name,
                    "Key": key,
                    "ResponseContentDisposition": content_disposition(filename, media_type, inline=inline),
                    "ResponseContentType": served_type(media_type),
                },
                ExpiresIn=seconds,
            )

    def close(self) -> None:
        self._bucket.close()
