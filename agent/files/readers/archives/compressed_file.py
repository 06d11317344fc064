"""A compressed file (gzip, bzip2, xz): the archive in it is listed, of another file the name and size are told.

What stays true: it is unpacked as a stream, a piece at a time, and no further than the time, the size and the ratio
allow; nothing of it is kept.
"""

import bz2
import gzip
import io
import lzma
from typing import IO, Any, cast

from agent.files.readers.archives.archive import list_tar
from agent.files.readers.archives.listing import Entry, add_listing
from agent.files.readers.decode import decode
from agent.files.readers.sections import TextSections

#: Bytes that are unpacked of one file, at most.
UNPACKED_MAX = 1024 * 1024 * 1024
_PIECE = 1024 * 1024


class _Bounded:
    """A stream that ends where it was read enough of."""

    def __init__(self, stream: IO[bytes], sections: TextSections) -> None:
        self._stream, self._sections = stream, sections
        self.size = 0
        self.is_cut = False

    def read(self, size: int) -> bytes:
        """Read so many bytes, fewer at the end; none where it is damaged or was read enough of."""
        if self.size > UNPACKED_MAX or self._sections.is_late:
            self.is_cut = True
            return b""
        try:
            piece = self._stream.read(min(size, _PIECE))
        except (OSError, EOFError, lzma.LZMAError, ValueError):
            self._sections.remark("The file breaks off or is damaged.")
            return b""
        self.size += len(piece)
        return piece


def read(content: bytes, sections: TextSections) -> dict[str, Any]:
    """List the archive in a compressed file, or tell the name and size of what is in it."""
    kind, stream = _open(content)
    head = _Bounded(stream, sections).read(1024)
    stream.seek(0)
    bounded = _Bounded(stream, sections)
    if head[257:262] == b"ustar":
        result = list_tar(bounded, sections, f"tar archive, compressed with {kind},")
        if bounded.is_cut:
            sections.remark("The archive is too large to be listed to its end.")
        return {**result, **sections.result()}
    while bounded.read(_PIECE):
        pass
    if bounded.is_cut:
        sections.remark(f"Only the first {bounded.size:,} bytes were unpacked; there is more.")
    name, comment = _gzip_texts(content)
    return add_listing([Entry(name or "one file", bounded.size)], sections, f"{kind} file", comment)


def _open(content: bytes) -> tuple[str, IO[bytes]]:
    file = io.BytesIO(content)
    if content.startswith(b"BZh"):
        return "bzip2", cast("IO[bytes]", bz2.open(file))
    if content.startswith(b"\xfd7zXZ"):
        return "xz", cast("IO[bytes]", lzma.open(file))
    return "gzip", cast("IO[bytes]", gzip.open(file))


def _gzip_texts(content: bytes) -> tuple[str, str]:
    """The name that a gzip file has of what is in it, and its comment; "" without them."""
    if content[:3] != b"\x1f\x8b\x08":
        return "", ""
    at, texts = 10, []
    if content[3] & 0x04:
        at += 2 + int.from_bytes(content[at : at + 2], "little")
    for flag in (0x08, 0x10):
        end = content.find(b"\0", at) if content[3] & flag else at - 1
        texts.append(decode(content[at:end]) if end > at else "")
        at = end + 1
    return texts[0], texts[1]
