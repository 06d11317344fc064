"""Objects that travel in parts: sent from here, or copied inside the server.

What stays true: an object is seen whole or not at all. Parts become one in the last request, which is
sent only when all of them arrived; whatever else happens, the server is told to drop them.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from conversation.errors import FileRejected, FileStoreUnavailable
from store.blobs.hashing import Content, read_verified_pieces
from store.blobs.s3.bucket import MISSING_KEY, S3Bucket, code_of

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

#: Parts of one object, at most, says S3.
PARTS_MAX = 10_000
#: Bytes that one request copies, at most. S3 would take 5 GiB, for longer than a client waits for an answer.
COPY_BYTES = 256 * 1024 * 1024
#: Answers to a condition that does not hold any more.
CHANGED = {"412", "PreconditionFailed"}


def part_bytes(bucket: S3Bucket, size: int) -> int:
    """The length of the parts in which an object of this size is sent."""
    return max(bucket.options.part_bytes, -(-size // PARTS_MAX))


def send_in_parts(
    bucket: S3Bucket, key: str, sha256: str, content: Content, *, size: int, **object_options: Any
) -> None:
    """Send content part by part, one in memory at a time. Raises `FileRejected` if it changed meanwhile."""
    with _multipart_upload(bucket, key, object_options) as (upload, parts):
        pieces = read_verified_pieces(sha256, content, part_bytes(bucket, size))
        for number, piece in enumerate(pieces, start=1):
            with bucket.use_client() as client:
                response = client.upload_part(**upload, PartNumber=number, Body=piece)
            parts.append({"PartNumber": number, "ETag": response["ETag"]})


def copy_object(bucket: S3Bucket, source: str, key: str, *, etag: str, size: int, **object_options: Any) -> None:
    """Copy an object inside the bucket, if it still has this ETag. Raises `FileRejected` if it has not."""
    origin: dict[str, Any] = {"CopySource": {"Bucket": bucket.name, "Key": source}, "CopySourceIfMatch": etag}
    if size <= COPY_BYTES:
        with bucket.use_client() as client, _refuse_changed_source(client, source):
            client.copy_object(Bucket=bucket.name, Key=key, MetadataDirective="REPLACE", **origin, **object_options)
        return
    with _multipart_upload(bucket, key, object_options) as (upload, parts):
        for number, start in enumerate(range(0, size, COPY_BYTES), start=1):
            span = f"bytes={start}-{min(start + COPY_BYTES, size) - 1}"
            with bucket.use_client() as client, _refuse_changed_source(client, source):
                response = client.upload_part_copy(**upload, PartNumber=number, CopySourceRange=span, **origin)
            parts.append({"PartNumber": number, "ETag": response["CopyPartResult"]["ETag"]})


@contextmanager
def _refuse_changed_source(client: "S3Client", source: str) -> Iterator[None]:
    try:
        yield
    except client.exceptions.ClientError as error:
        if code_of(error) not in CHANGED | MISSING_KEY:
            raise
        raise FileRejected(
            f"upload {source.rpartition('/')[2]}: it changed while it was being taken; upload it again"
        ) from None


@contextmanager
def _multipart_upload(
    bucket: S3Bucket, key: str, object_options: Mapping[str, Any]
) -> Iterator[tuple[dict[str, Any], list[Any]]]:
    """Make one object of the parts that the caller adds to the list; of none if anything is raised."""
    upload: dict[str, Any] = {"Bucket": bucket.name, "Key": key}
    with bucket.use_client() as client:
        upload["UploadId"] = client.create_multipart_upload(**upload, **object_options)["UploadId"]
    parts: list[Any] = []
    try:
        yield upload, parts
        with bucket.use_client() as client:
            client.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
    except BaseException:
        _drop(bucket, upload)
        raise


def _drop(bucket: S3Bucket, upload: Mapping[str, Any]) -> None:
    """Try to drop an unfinished upload: else it stays until the bucket's own rule removes it."""
    try:
        with bucket.use_client() as client, suppress(client.exceptions.NoSuchUpload):
            client.abort_multipart_upload(**upload)
    except FileStoreUnavailable:
        import structlog

        log = structlog.get_logger(__name__)
        log.warning("s3.upload_not_dropped", bucket=bucket.name, key=upload["Key"])
