"""Objects that travel in parts: sent from here, or copied inside the server.

What stays true: an object is seen whole or not at all. Parts become one in the last request, which is
sent only when all of them arrived; whatever else happens, the server is told to drop them.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from conversation.errors import FileRefused, FileStoreUnavailable
from store.blobs.hashing import Content, hashed_pieces
from store.blobs.s3.bucket import MISSING_KEY, S3Place, code_of

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

#: Parts of one object, at most, says S3.
PARTS_MAX = 10_000
#: Bytes that one request copies, at most. S3 would take 5 GiB, for longer than anybody waits for an answer.
COPY_BYTES = 256 * 1024 * 1024
#: Answers to a condition that does not hold any more.
CHANGED = {"412", "PreconditionFailed"}


def part_bytes(place: S3Place, size: int) -> int:
    """The length of the parts in which an object of this size is sent."""
    return max(place.options.part_bytes, -(-size // PARTS_MAX))


def send_in_parts(
    place: S3Place, key: str, sha256: str, content: Content, *, size: int, **described: Any
) -> None:
    """Send content part after part, one in memory at a time. Raises `FileRefused` if it changed meanwhile."""
    with _in_parts(place, key, described) as (upload, parts):
        pieces = hashed_pieces(sha256, content, part_bytes(place, size))
        for number, piece in enumerate(pieces, start=1):
            with place.translated() as client:
                sent = client.upload_part(**upload, PartNumber=number, Body=piece)
            parts.append({"PartNumber": number, "ETag": sent["ETag"]})


def copy_object(place: S3Place, source: str, key: str, *, etag: str, size: int, **described: Any) -> None:
    """Copy an object inside the bucket, if it still has this ETag. Raises `FileRefused` if it has not."""
    origin: dict[str, Any] = {
        "CopySource": {"Bucket": place.bucket, "Key": source},
        "CopySourceIfMatch": etag,
    }
    if size <= COPY_BYTES:
        with place.translated() as client, _unchanged(client, source):
            client.copy_object(
                Bucket=place.bucket, Key=key, MetadataDirective="REPLACE", **origin, **described
            )
        return
    with _in_parts(place, key, described) as (upload, parts):
        for number, start in enumerate(range(0, size, COPY_BYTES), start=1):
            span = f"bytes={start}-{min(start + COPY_BYTES, size) - 1}"
            with place.translated() as client, _unchanged(client, source):
                copied = client.upload_part_copy(**upload, PartNumber=number, CopySourceRange=span, **origin)
            parts.append({"PartNumber": number, "ETag": copied["CopyPartResult"]["ETag"]})


@contextmanager
def _unchanged(client: "S3Client", source: str) -> Iterator[None]:
    try:
        yield
    except client.exceptions.ClientError as error:
        if code_of(error) not in CHANGED | MISSING_KEY:
            raise
        raise FileRefused(
            f"upload {source.rpartition('/')[2]}: it changed while it was being taken; upload it again"
        ) from None


@contextmanager
def _in_parts(
    place: S3Place, key: str, described: Mapping[str, Any]
) -> Iterator[tuple[dict[str, Any], list[Any]]]:
    """Make one object of the parts that the caller adds to the list; of none if anything is raised."""
    upload: dict[str, Any] = {"Bucket": place.bucket, "Key": key}
    with place.translated() as client:
        upload["UploadId"] = client.create_multipart_upload(**upload, **described)["UploadId"]
    parts: list[Any] = []
    try:
        yield upload, parts
        with place.translated() as client:
            client.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
    except BaseException:
        _drop(place, upload)
        raise


def _drop(place: S3Place, upload: Mapping[str, Any]) -> None:
    """Best effort: what cannot be dropped now stays until the bucket's own rule removes it."""
    try:
        with place.translated() as client, suppress(client.exceptions.NoSuchUpload):
            client.abort_multipart_upload(**upload)
    except FileStoreUnavailable:
        import structlog

        log = structlog.get_logger(__name__)
        log.warning("s3.upload_not_dropped", bucket=place.bucket, key=upload["Key"])
