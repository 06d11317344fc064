"""From settings to a store: a folder's path, or `s3://bucket/prefix`."""

from urllib.parse import urlsplit

from conversation.errors import InvalidSettings
from store.files.blobs import BlobStore
from store.files.local import LocalBlobs
from store.files.s3 import S3Blobs
from store.settings import Settings


def open_file_store(settings: Settings) -> BlobStore:
    """The store that THREADMILL_FILE_STORE names. Nothing is connected or created before its first use.

    Raises `InvalidSettings` for an address that names neither a folder nor a bucket.
    """
    place = settings.file_store
    if "://" not in place:
        return LocalBlobs(place)
    parts = urlsplit(place)
    if parts.scheme != "s3" or not parts.netloc or "@" in parts.netloc:
        raise InvalidSettings(
            "THREADMILL_FILE_STORE: is neither a folder nor a bucket; write ./folder or s3://bucket/prefix, "
            "with the keys in THREADMILL_S3_ACCESS_KEY_ID and THREADMILL_S3_SECRET_ACCESS_KEY"
        )
    return S3Blobs(
        parts.netloc,
        parts.path,
        endpoint_url=settings.s3_endpoint_url,
        access_key_id=settings.s3_access_key_id,
        secret_access_key=settings.s3_secret_access_key.get_secret_value(),
        region=settings.s3_region,
    )
