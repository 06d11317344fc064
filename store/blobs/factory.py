"""From settings to a store: a folder's path, `s3://bucket/prefix`, or `memory:`."""

from conversation.errors import InvalidSettings
from store.blobs import memory
from store.blobs.local import LocalBlobs
from store.blobs.protocol import BlobStore
from store.blobs.s3.bucket import S3Options
from store.blobs.s3.store import S3Blobs
from store.settings import Settings

#: Keeps blobs in this process, gone with it: for tests, and for library use.
MEMORY = "memory:"
#: Connections beside those of turns: for sends, and the upkeep of blobs.
SPARE_CONNECTIONS = 10


def open_file_store(settings: Settings) -> BlobStore:
    """The store that THREADMILL_FILE_STORE_URL names. Nothing is connected or created before its first use.

    `memory:` is the same store in all of this process. Raises `InvalidSettings` for an address
    that names neither a folder nor a bucket.
    """
    address = settings.file_store_url
    if address == MEMORY:
        return memory.shared_blobs()
    if "://" not in address:
        return LocalBlobs(address)
    bucket, _, prefix = address.removeprefix("s3://").partition("/")
    if not address.startswith("s3://") or not bucket or "@" in bucket:
        raise InvalidSettings(
            "THREADMILL_FILE_STORE_URL: is neither a folder nor a bucket; write ./folder or "
            "s3://bucket/prefix, with the keys in THREADMILL_S3_ACCESS_KEY_ID and "
            "THREADMILL_S3_SECRET_ACCESS_KEY"
        )
    return S3Blobs(bucket, prefix, _options(settings))


def _options(settings: Settings) -> S3Options:
    return S3Options(
        endpoint_url=settings.s3_endpoint_url,
        access_key_id=settings.s3_access_key_id,
        secret_access_key=settings.s3_secret_access_key.get_secret_value(),
        region=settings.s3_region,
        connect_timeout_seconds=settings.s3_connect_timeout_seconds,
        read_timeout_seconds=settings.s3_read_timeout_seconds,
        max_attempts=settings.s3_max_attempts,
        # All turns of a worker may read their files at once. A connection beyond these is not refused:
        # it is opened, and closed after one request.
        max_connections=settings.worker_concurrency + SPARE_CONNECTIONS,
        sse=settings.s3_sse,
        sse_kms_key_id=settings.s3_sse_kms_key_id,
        storage_class=settings.s3_storage_class,
        multipart_bytes=settings.s3_multipart_bytes,
        part_bytes=settings.s3_part_bytes,
    )
