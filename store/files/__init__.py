"""Where attachments' bytes are kept: a Protocol, a local folder, an S3-compatible bucket.

What stays true: a blob is addressed by its tenant and the SHA-256 of its bytes, is checked against
that hash when it is written and when it is read, and is whole or not there.
"""

from store.files.blobs import BlobStore
from store.files.local import LocalBlobs
from store.files.opening import open_file_store
from store.files.s3 import S3Blobs
from store.files.sniff import examine, examine_sample

__all__ = ["BlobStore", "LocalBlobs", "S3Blobs", "examine", "examine_sample", "open_file_store"]
