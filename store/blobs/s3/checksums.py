"""Comparison of an object with the bytes that it should have, by the server's checksums.

What stays true: an object is taken for whole only where a sum that the server made of its bytes says
so. What we wrote beside them, and their number, prove nothing: damage keeps both.
"""

import base64
import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from store.blobs.hashing import Content, read_verified_pieces

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import HeadObjectOutputTypeDef


def is_whole(head: "HeadObjectOutputTypeDef", sha256: str, content: Content, *, size: int, part_bytes: int) -> bool:
    """Whether this object is the content, as far as that can be told; `part_bytes` is what we would send.

    False, too, for one in parts of another length, and for one that was encrypted with a key of KMS and
    has no SHA-256 of its own. Reads the content once more. Raises `FileRejected` if it changed.
    """
    if head["ContentLength"] != size:
        return False
    if head.get("ServerSideEncryption", "").startswith("aws:kms"):
        # Such an ETag is no MD5. A sum of parts ends with their number, and is not this one either.
        return head.get("ChecksumSHA256") == checksum(sha256)
    etag = head["ETag"].strip('"')
    return etag == (_etag_of_parts if "-" in etag else _etag)(read_verified_pieces(sha256, content, part_bytes))


def checksum(sha256: str) -> str:
    """A hash as S3 spells it."""
    return base64.b64encode(bytes.fromhex(sha256)).decode()


def _etag(pieces: Iterator[bytes]) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()


def _etag_of_parts(pieces: Iterator[bytes]) -> str:
    sums = [hashlib.md5(piece, usedforsecurity=False).digest() for piece in pieces]
    return f"{hashlib.md5(b''.join(sums), usedforsecurity=False).hexdigest()}-{len(sums)}"
