"""The bytes of one object, in pieces, over connections that may break.

What stays true: a piece is handed out once and in order. Where a connection breaks in the middle,
the rest is asked for, of the very same object.
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from store.blobs.hashing import CHUNK_BYTES
from store.blobs.s3.bucket import S3Place

if TYPE_CHECKING:
    from botocore.response import StreamingBody


class Reading:
    """An object that is there, to be iterated over once. Raises `FileStoreUnavailable`."""

    def __init__(self, place: S3Place, key: str) -> None:
        """Raises botocore's `NoSuchKey` for a missing object: call it where that is understood."""
        self._place, self._key = place, key
        answer = place.connected().get_object(Bucket=place.bucket, Key=key)
        self._body: StreamingBody = answer["Body"]
        self._read = 0
        self._breaks_left = place.options.max_attempts - 1
        #: What the server calls these bytes; another upload under the same key has another.
        self.etag = answer["ETag"]

    def __iter__(self) -> Iterator[bytes]:
        while piece := self._piece():
            self._read += len(piece)
            yield piece

    def close(self) -> None:
        """Let go of the connection, also in the middle."""
        self._body.close()

    def _piece(self) -> bytes:
        from botocore.exceptions import BotoCoreError

        with self._place.translated() as client:
            while True:
                try:
                    return self._body.read(CHUNK_BYTES)
                except BotoCoreError:
                    if not self._breaks_left:
                        raise
                self._breaks_left -= 1
                self._body.close()
                rest = f"bytes={self._read}-"
                answer = client.get_object(
                    Bucket=self._place.bucket, Key=self._key, Range=rest, IfMatch=self.etag
                )
                self._body = answer["Body"]


@contextmanager
def reading(place: S3Place, key: str, missing: Exception) -> Iterator[Reading]:
    """An object to be read inside of the `with`. Raises what is `missing`, where it is."""
    with place.translated() as client:
        try:
            opened = Reading(place, key)
        except client.exceptions.NoSuchKey:
            raise missing from None
    with closing(opened):
        yield opened
