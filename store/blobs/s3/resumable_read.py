"""The bytes of one object, in pieces, over connections that may break.

What stays true: a piece is handed out once and in order. Where a connection breaks in the middle,
the rest is asked for, of the very same object.
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from store.blobs.hashing import CHUNK_BYTES
from store.blobs.s3.bucket import S3Bucket

if TYPE_CHECKING:
    from botocore.response import StreamingBody


class ResumableRead:
    """An object that is there, to be iterated over once. Raises `FileStoreUnavailable`."""

    def __init__(self, bucket: S3Bucket, key: str) -> None:
        """Raises botocore's `NoSuchKey` for a missing object: call it where that is understood."""
        self._bucket, self._key = bucket, key
        answer = bucket.get_client().get_object(Bucket=bucket.name, Key=key)
        self._body: StreamingBody = answer["Body"]
        self._bytes_read = 0
        self._remaining_retries = bucket.options.max_attempts - 1
        #: The server's tag for these bytes; another upload under the same key has another.
        self.etag = answer["ETag"]

    def __iter__(self) -> Iterator[bytes]:
        while piece := self._read_piece():
            self._bytes_read += len(piece)
            yield piece

    def close(self) -> None:
        """Release the connection, also in the middle."""
        self._body.close()

    def _read_piece(self) -> bytes:
        from botocore.exceptions import BotoCoreError

        with self._bucket.use_client() as client:
            while True:
                try:
                    return self._body.read(CHUNK_BYTES)
                except BotoCoreError:
                    if not self._remaining_retries:
                        raise
                self._remaining_retries -= 1
                self._body.close()
                byte_range = f"bytes={self._bytes_read}-"
                answer = client.get_object(Bucket=self._bucket.name, Key=self._key, Range=byte_range, IfMatch=self.etag)
                self._body = answer["Body"]


@contextmanager
def open_object(bucket: S3Bucket, key: str, missing_error: Exception) -> Iterator[ResumableRead]:
    """Open an object to be read inside of the `with`. Raises `missing_error` where there is none."""
    with bucket.use_client() as client:
        try:
            body = ResumableRead(bucket, key)
        except client.exceptions.NoSuchKey:
            raise missing_error from None
    with closing(body):
        yield body
