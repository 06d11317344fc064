"""Where attachments' bytes are kept: a Protocol; a bucket of S3, a local folder, memory.

What stays true: a blob is addressed by its tenant and the SHA-256 of its bytes, is checked against
that hash when it is written and when it is read, and is whole or not there.
"""

from store.files.blobs import BlobStore, StoredBlob
from store.files.local import LocalBlobs
from store.files.memory import MemoryBlobs
from store.files.opening import open_file_store
from store.files.s3 import S3Blobs
from store.files.s3_place import S3Options
from store.files.sniff import examine, examine_sample
from store.files.uploads import PresignedUpload, StagedUpload

__all__ = [
    "BlobStore",
    "LocalBlobs",
    "MemoryBlobs",
    "PresignedUpload",
    "S3Blobs",
    "S3Options",
    "StagedUpload",
    "StoredBlob",
    "examine",
    "examine_sample",
    "open_file_store",
]
