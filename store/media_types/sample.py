"""The parts of a file that are examined to tell its type: its beginning, its end, and its size.

What stays true: of a file that is there whole, the beginning is all of it; of a larger one, what
lies between is never guessed.
"""

from dataclasses import dataclass

from conversation.charset import DECISION_BYTES

#: Bytes that have to be read of the beginning of a large file: of a text, those by which its encoding is decided.
HEAD_BYTES = DECISION_BYTES
#: Bytes that have to be read of its end: the end record of a ZIP archive is never further from it.
TAIL_BYTES = 66 * 1024


@dataclass(frozen=True, slots=True)
class Sample:
    """The two ends of a file."""

    head: bytes
    #: The last bytes; they may overlap with the head.
    tail: bytes
    #: Of the whole file, in bytes.
    size: int

    @classmethod
    def from_content(cls, content: bytes) -> "Sample":
        """The sample of a file that is in memory: all of it."""
        return cls(content, content, len(content))

    @classmethod
    def from_ends(cls, head: bytes, tail: bytes, size: int) -> "Sample":
        """The sample of a file of `size` bytes by its first `HEAD_BYTES` and its last `TAIL_BYTES`."""
        return cls(head, head if len(head) >= size else tail, size)

    @property
    def is_whole(self) -> bool:
        """Whether the head is all of the file."""
        return len(self.head) >= self.size

    @property
    def tail_at(self) -> int:
        """Where in the file the tail begins."""
        return self.size - len(self.tail)
