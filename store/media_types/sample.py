"""The parts of a file that are examined to tell its type: its beginning, its end, its size, and any part on demand.

What stays true: of a file that is there whole, the beginning is all of it; of a larger one, what
lies between is never guessed.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from conversation.charset import DECISION_BYTES

#: Bytes that have to be read of the beginning of a large file: of a text, those by which its encoding is decided.
HEAD_BYTES = DECISION_BYTES
#: Bytes that have to be read of its end: the end record of a ZIP archive is never further from it.
TAIL_BYTES = 66 * 1024
#: Bytes that are read at once of a file that is searched from end to end.
PIECE_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Sample:
    """The two ends of a file, and the file itself where it is at hand."""

    head: bytes
    #: The last bytes; they may overlap with the head.
    tail: bytes
    #: Of the whole file, in bytes.
    size: int
    #: The whole file, which can be read anywhere; None where there are only its ends.
    file: BinaryIO | None = field(default=None, repr=False, compare=False)

    @classmethod
    def from_content(cls, content: bytes) -> "Sample":
        """The sample of a file that is in memory: all of it."""
        return cls(content, content, len(content))

    @classmethod
    def from_ends(cls, head: bytes, tail: bytes, size: int, file: BinaryIO | None = None) -> "Sample":
        """The sample of a file of `size` bytes by its first `HEAD_BYTES` and its last `TAIL_BYTES`."""
        return cls(head, head if len(head) >= size else tail, size, file)

    @property
    def is_whole(self) -> bool:
        """Whether the head is all of the file."""
        return len(self.head) >= self.size

    @property
    def tail_at(self) -> int:
        """Where in the file the tail begins."""
        return self.size - len(self.tail)

    def open(self) -> BinaryIO | None:
        """The whole file, at its beginning; None where there are only its ends."""
        if self.is_whole:
            return io.BytesIO(self.head)
        if self.file is not None:
            self.file.seek(0)
        return self.file

    def read_tail(self, max_bytes: int) -> bytes:
        """Read the last bytes, as many as are at hand."""
        if self.is_whole or self.file is None:
            return self.tail[-max_bytes:]
        self.file.seek(max(0, self.size - max_bytes))
        return self.file.read()

    def read_pieces(self) -> Iterator[bytes]:
        """Read the file from end to end, piece by piece; of one that is not at hand, its ends."""
        file = self.open()
        if file is None:
            yield from (self.head, self.tail)
            return
        while piece := file.read(PIECE_BYTES):
            yield piece
