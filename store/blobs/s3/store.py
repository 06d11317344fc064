"""Blobs in a bucket of S3, or of a server that speaks like it: `prefix/tenant/sha256/ab/cdef…`.

What stays true: bytes that do not have the hash are never seen under its address: they are hashed
before and while they are sent, the server compares what arrived with a signed hash, and an object in
parts becomes one only after its last part was hashed too.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from conversation.validation import check_tenant
from store.blobs.download_headers import content_disposition, served_type
from store.blobs.hashing import Content, check_content, hashed_pieces, undamaged_pieces
from store.blobs.protocol import StoredBlob, check_after, check_expires, is_sha256, is_tenant, not_stored
from store.blobs.s3.bucket import S3Options, S3Place
from store.blobs.s3.checksums import checksum, is_whole
from store.blobs.s3.deletion import delete_folder, delete_object
from store.blobs.s3.multipart import part_bytes, send_in_parts
from store.blobs.s3.presigned import S3Uploads
from store.blobs.s3.resumable_read import reading


class S3Blobs(S3Uploads):
    """Keeps blobs in a bucket, which has to exist. Needs the rights to get, put, delete and list."""

    def __init__(self, bucket: str, prefix: str = "", options: S3Options | None = None) -> None:
        self._place = S3Place(bucket, prefix, options or S3Options())

    def put(self, tenant: str, sha256: str, content: Content, media_type: str) -> None:
        key = self._place.key(tenant, sha256)
        size = check_content(sha256, content)
        kept = self._place.head(key)
        if kept and is_whole(kept, sha256, content, size=size, part_bytes=part_bytes(self._place, size)):
            return
        described = self._place.described(sha256, media_type)
        if size >= self._place.options.multipart_bytes:
            send_in_parts(self._place, key, sha256, content, size=size, **described)
            return
        # In memory, where nobody writes to it between the last look at it and its way out.
        whole = content if isinstance(content, bytes) else b"".join(hashed_pieces(sha256, content))
        if self._place.options.sse == "aws:kms":
            # Or nothing would tell the next put that these bytes are there.
            described["ChecksumSHA256"] = checksum(sha256)
        with self._place.translated() as client:
            client.put_object(Bucket=self._place.bucket, Key=key, Body=whole, **described)

    def get(self, tenant: str, sha256: str) -> bytes:
        with self.open(tenant, sha256) as pieces:
            return b"".join(pieces)

    @contextmanager
    def open(self, tenant: str, sha256: str) -> Iterator[Iterator[bytes]]:
        key = self._place.key(tenant, sha256)
        with reading(self._place, key, not_stored(tenant, sha256)) as pieces:
            yield undamaged_pieces(tenant, sha256, iter(pieces))

    def exists(self, tenant: str, sha256: str) -> bool:
        return self._place.size_in_bucket(self._place.key(tenant, sha256)) is not None

    def delete(self, tenant: str, sha256: str) -> None:
        delete_object(self._place, self._place.key(tenant, sha256))

    def delete_tenant(self, tenant: str) -> int:
        check_tenant(tenant)
        return delete_folder(self._place, f"{self._place.prefix}{tenant}/")

    def list(self, tenant: str, *, after: str = "") -> Iterator[StoredBlob]:
        check_tenant(tenant)
        folder = f"{self._place.prefix}{tenant}/sha256/"
        where = {"StartAfter": self._place.key(tenant, after)} if check_after(after) else {}
        for page in self._place.listing(Prefix=folder, **where):
            for item in page.get("Contents", ()):
                sha256 = item["Key"].removeprefix(folder).replace("/", "", 1)
                if is_sha256(sha256) and item["Key"] == self._place.key(tenant, sha256):
                    yield StoredBlob(sha256, item["Size"], item["LastModified"])

    def tenants(self) -> Iterator[str]:
        folders = (
            folder["Prefix"].removeprefix(self._place.prefix).removesuffix("/")
            for page in self._place.listing(Prefix=self._place.prefix, Delimiter="/")
            for folder in page.get("CommonPrefixes", ())
        )
        # S3 sorts the slash along: to it `a-b/` comes before `a/`.
        yield from sorted(filter(is_tenant, folders))

    def url(
        self,
        tenant: str,
        sha256: str,
        *,
        expires: timedelta,
        filename: str,
        media_type: str,
        inline: bool = False,
    ) -> str:
        key = self._place.key(tenant, sha256)
        seconds = check_expires(expires)
        with self._place.translated() as client:
            return client.generate_presigned_url(
                "get_object",
                Params={
                    "Bucket": self._place.bucket,
                    "Key": key,
                    "ResponseContentDisposition": content_disposition(filename, media_type, inline=inline),
                    "ResponseContentType": served_type(media_type),
                },
                ExpiresIn=seconds,
            )

    def close(self) -> None:
        self._place.close()
