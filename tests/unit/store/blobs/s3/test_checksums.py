"""What the sums that an S3 server tells of an object prove, where no server at hand encrypts with KMS."""

import hashlib
from typing import Any

import pytest

from store.blobs.s3.checksums import checksum, is_whole

CONTENT = b"a file"
HASH = hashlib.sha256(CONTENT).hexdigest()
MD5 = f'"{hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()}"'
KMS = {"ServerSideEncryption": "aws:kms", "ETag": '"00000000000000000000000000000000"'}


@pytest.mark.parametrize(
    ("told", "whole"),
    [
        ({"ETag": MD5}, True),
        ({"ETag": MD5, "ServerSideEncryption": "AES256"}, True),
        ({"ETag": MD5, "ContentLength": 7}, False),
        ({"ETag": '"0"', "Metadata": {"sha256": HASH}}, False),
        ({"ETag": '"0-1"'}, False),
        # Not every server compares the sum that a client names with what it was sent.
        ({"ETag": '"0"', "ChecksumSHA256": checksum(HASH)}, False),
        (KMS, False),
        ({**KMS, "ETag": MD5}, False),
        ({**KMS, "ChecksumSHA256": checksum(HASH)}, True),
        ({**KMS, "ServerSideEncryption": "aws:kms:dsse", "ChecksumSHA256": checksum(HASH)}, True),
        ({**KMS, "ChecksumSHA256": checksum("0" * 64)}, False),
        ({**KMS, "ChecksumSHA256": f"{checksum(HASH)}-1"}, False),
    ],
)
def test_an_object_is_whole_where_a_sum_of_its_bytes_says_so(told: dict[str, Any], whole: bool) -> None:
    kept: Any = {"ContentLength": len(CONTENT), **told}

    assert is_whole(kept, HASH, CONTENT, size=len(CONTENT), part_bytes=5) is whole
