"""Bytes on their way into a store and out of it, in pieces, each way counted and hashed.

What stays true: content is never held in memory as a whole here, and a caller that takes the last
piece knows whether all of them have the hash.
"""

import hashlib
from collections.abc import Iterator
from typing import BinaryIO

from conversation.errors import FileNotStored, FileRejected

#: Content to be put: bytes, or a file that is open for reading and can be read again from its beginning.
Content = bytes | BinaryIO

#: Bytes of one piece: long enough that a gigabyte takes few rounds of the loop.
CHUNK_BYTES = 1024 * 1024


def check_content(sha256: str, content: Content) -> int:
    """Refuse bytes that would be stored under a wrong hash. Returns their number. Raises `FileRejected`."""
    return sum(len(piece) for piece in read_verified_pieces(sha256, content))


def read_verified_pieces(sha256: str, content: Content, size: int = CHUNK_BYTES) -> Iterator[bytes]:
    """The content in pieces of so many bytes, the last one shorter.

    Raises `FileRejected` after the last one if they do not have this hash: a file may have been
    written to since it was checked.
    """
    digest = hashlib.sha256()
    for piece in _read_pieces(content, size):
        digest.update(piece)
        yield piece
    if digest.hexdigest() != sha256:
        raise FileRejected(
            f"blob {sha256}: its bytes have the hash {digest.hexdigest()}; read the file again and send it anew"
        )


def verify_stored_pieces(tenant: str, sha256: str, pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Pass on the pieces; raises `FileNotStored` after the last one if they are not what was put."""
    digest, size = hashlib.sha256(), 0
    for piece in pieces:
        digest.update(piece)
        size += len(piece)
        yield piece
    if digest.hexdigest() != sha256:
        raise FileNotStored(
            f"blob {sha256} of tenant {tenant} is damaged: its {size} bytes have another hash; "
            "put the same file again or restore it from a backup"
        )


def _read_pieces(content: Content, size: int) -> Iterator[bytes]:
    if isinstance(content, bytes):
        for start in range(0, len(content), size):
            yield content[start : start + size]
        return
    content.seek(0)
    while piece := _read_full(content, size):
        yield piece


def _read_full(file: BinaryIO, size: int) -> bytes:
    """Read `size` bytes, unless the file ends: a file without a buffer may give fewer at a time."""
    piece = file.read(size)
    while piece and len(piece) < size and (more := file.read(size - len(piece))):
        piece += more
    return piece
