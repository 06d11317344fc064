"""The stores of attachments' bytes: a Protocol, and an S3 bucket, a local folder and memory behind it.

What stays true: a blob is addressed by its tenant and the SHA-256 of its bytes, is checked against
that hash when it is written and when it is read, and is whole or not there.
"""

from store.blobs.factory import open_file_store
from store.blobs.local import LocalBlobs
from store.blobs.memory import MemoryBlobs
from store.blobs.presigned import PresignedUpload, StagedUpload
from store.blobs.protocol import BlobStore, StoredBlob
from store.blobs.s3.bucket import S3Options
from store.blobs.s3.store import S3Blobs

__all__ = [
    "BlobStore",
    "LocalBlobs",
    "MemoryBlobs",
    "PresignedUpload",
    "S3Blobs",
    "S3Options",
    "StagedUpload",
    "StoredBlob",
    "open_file_store",
]
