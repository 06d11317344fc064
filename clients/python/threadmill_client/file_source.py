"""Files on their way: where bytes come from, and where they go.

What stays true: a source can be read again from its beginning, since what was cut is sent again; a file that is
saved stands under its name only when it is whole.
"""

import hashlib
import os
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

CHUNK_BYTES = 256 * 1024

FileContent = bytes | str | os.PathLike[str] | BinaryIO


class FileSource:
    """The bytes of a file: given themselves, by a path, or as an open file that can seek."""

    def __init__(self, content: FileContent) -> None:
        self._content = content
        self.name = Path(content).name if isinstance(content, str | os.PathLike) else ""
        #: Where an open file stood when it was given.
        self._start = 0
        if not isinstance(content, bytes | bytearray | memoryview | str | os.PathLike):
            self._start = content.tell()

    def size(self) -> int:
        """Count the bytes."""
        if isinstance(self._content, bytes | bytearray | memoryview):
            return len(self._content)
        if isinstance(self._content, str | os.PathLike):
            return Path(self._content).stat().st_size
        return self._content.seek(0, os.SEEK_END) - self._start

    def sha256(self) -> str:
        """Hash the bytes."""
        digest = hashlib.sha256()
        for chunk in self.chunks():
            digest.update(chunk)
        return digest.hexdigest()

    def read(self) -> bytes:
        """Read it whole."""
        return b"".join(self.chunks())

    def chunks(self) -> Iterator[bytes]:
        """Read it from its beginning, piece by piece."""
        if isinstance(self._content, str | os.PathLike):
            with Path(self._content).open("rb") as file:
                yield from _cut(file)
        elif isinstance(self._content, bytes | bytearray | memoryview):
            yield from _cut(BytesIO(self._content))
        else:
            self._content.seek(self._start)
            yield from _cut(self._content)


def _cut(file: BinaryIO) -> Iterator[bytes]:
    while chunk := file.read(CHUNK_BYTES):
        yield chunk


class FileSink:
    """A file that is being saved."""

    def __init__(self, target: str | os.PathLike[str]) -> None:
        self.target = Path(target)
        self._part = self.target.with_name(f"{self.target.name}.part")
        self._digest = hashlib.sha256()

    def begin(self) -> None:
        """Begin anew: what an earlier try wrote is dropped."""
        self._digest = hashlib.sha256()
        self._part.write_bytes(b"")

    def write(self, chunk: bytes) -> None:
        """Add a piece."""
        self._digest.update(chunk)
        with self._part.open("ab") as file:
            file.write(chunk)

    @property
    def sha256(self) -> str:
        """Of what was written."""
        return self._digest.hexdigest()

    def commit(self) -> None:
        """Give the file its name."""
        self._part.replace(self.target)

    def drop(self) -> None:
        """Remove what has no name."""
        self._part.unlink(missing_ok=True)
