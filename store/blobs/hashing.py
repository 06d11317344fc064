"""Bytes on their way into a store and out of it, in pieces, each way counted and hashed.

What stays true: content is never held in memory as a whole here, and whoever takes the last piece
has been told whether all of them have the hash.
"""

import hashlib
from collections.abc import Iterator
from typing import BinaryIO

from conversation.errors import FileNotStored, FileRefused

#: What is put: bytes, or a file that is open for reading and can be read again from its beginning.
Content = bytes | BinaryIO

#: Bytes of one piece: long enough that a gigabyte takes few turns of the loop.
CHUNK_BYTES = 1024 * 1024


def check_content(sha256: str, content: Content) -> int:
    """Refuse bytes that would be kept under a wrong address. Returns their number. Raises `FileRefused`."""
    return sum(len(piece) for piece in hashed_pieces(sha256, content))


def hashed_pieces(sha256: str, content: Content, size: int = CHUNK_BYTES) -> Iterator[bytes]:
    """The content in pieces of so many bytes, the last one shorter.

    Raises `FileRefused` after the last one if they do not have this hash: a file may have been
    written to since it was looked at.
    """
    found = hashlib.sha256()
    for piece in _pieces(content, size):
        found.update(piece)
        yield piece
    if found.hexdigest() != sha256:
        raise FileRefused(
            f"blob {sha256}: its bytes have the hash {found.hexdigest()}; "
            "read the file again and send it anew"
        )


def undamaged_pieces(tenant: str, sha256: str, pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Hand on what is read; raises `FileNotStored` after the last piece if it is not what was put."""
    found, size = hashlib.sha256(), 0
    for piece in pieces:
        found.update(piece)
        size += len(piece)
        yield piece
    if found.hexdigest() != sha256:
        raise FileNotStored(
            f"blob {sha256} of tenant {tenant} is damaged: its {size} bytes have another hash; "
            "put the same file again or restore it from a backup"
        )


def _pieces(content: Content, size: int) -> Iterator[bytes]:
    if isinstance(content, bytes):
        for start in range(0, len(content), size):
            yield content[start : start + size]
        return
    content.seek(0)
    while piece := _filled(content, size):
        yield piece


def _filled(file: BinaryIO, size: int) -> bytes:
    """So many bytes, unless the file ends: one without a buffer may give fewer at a time."""
    piece = file.read(size)
    while piece and len(piece) < size and (more := file.read(size - len(piece))):
        piece += more
    return piece
