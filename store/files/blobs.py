"""The seam behind which bytes are kept, and the rules of an address that every store shares.

What stays true: an address is a tenant's plain name and 64 lower-case hex digits, checked before
it becomes part of a path or key; bytes that do not have the hash they are addressed by are neither
kept nor handed out.
"""

import hashlib
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Protocol
from urllib.parse import quote

from conversation.checks import check_tenant
from conversation.errors import FileNotStored, FileRefused, InvalidInput

#: The longest life that Signature Version 4 gives a signed URL; the local store keeps to it as well.
URL_EXPIRES_MAX = timedelta(days=7)

_SHA256 = re.compile(r"[0-9a-f]{64}")
_UNSAFE_IN_QUOTES = re.compile(r"[^ !#-\[\]-~]")


class BlobStore(Protocol):
    """Keeps bytes. Every verb blocks; every verb may be called from any thread.

    Each raises `InvalidInput` for an address that is none, and `FileStoreUnavailable` when the place
    behind it does not answer, refuses, or is full.
    """

    def put(self, tenant: str, sha256: str, content: bytes, media_type: str) -> None:
        """Keep these bytes: durably once this returns, and any number of times with the same effect.

        Raises `FileRefused` for bytes that do not have this hash.
        """
        ...

    def get(self, tenant: str, sha256: str) -> bytes:
        """The bytes as they were put. Raises `FileNotStored` where they are missing or damaged."""
        ...

    def exists(self, tenant: str, sha256: str) -> bool:
        """Whether the blob is there. It is not read, so damage goes unnoticed."""
        ...

    def delete(self, tenant: str, sha256: str) -> None:
        """Remove the blob, if it is there."""
        ...

    def list(self, tenant: str) -> Iterator[str]:
        """The hashes of a tenant's blobs, ascending. What was put or deleted meanwhile may be missed."""
        ...

    def url(self, tenant: str, sha256: str, *, expires: timedelta, filename: str, media_type: str) -> str:
        """Where a client can fetch the blob, as a download of this name. Made up without asking the store."""
        ...

    def close(self) -> None:
        """Let go of connections. The store may be used again after."""
        ...


def check_address(tenant: str, sha256: str) -> None:
    """Refuse what could leave the place that belongs to the tenant. Raises `InvalidInput`."""
    check_tenant(tenant)
    if not isinstance(sha256, str) or not is_sha256(sha256):
        raise InvalidInput(
            "sha256", "is no hash", "pass 64 lower-case hex digits: hashlib.sha256(…).hexdigest()"
        )


def is_sha256(text: str) -> bool:
    """Whether this is a hash as we spell it: lower-case hex."""
    return _SHA256.fullmatch(text) is not None


def check_content(sha256: str, content: bytes) -> None:
    """Refuse bytes that would be kept under a wrong address. Raises `FileRefused`."""
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise FileRefused(
            f"blob {sha256}: its bytes have the hash {found}; read the file again and send it anew"
        )


def check_undamaged(tenant: str, sha256: str, content: bytes) -> bytes:
    """Hand on the bytes that were read if they are the ones that were put. Raises `FileNotStored`."""
    if hashlib.sha256(content).hexdigest() != sha256:
        raise FileNotStored(
            f"blob {sha256} of tenant {tenant} is damaged: its {len(content)} bytes have another hash; "
            "put the same file again or restore it from a backup"
        )
    return content


def not_stored(tenant: str, sha256: str) -> FileNotStored:
    """The error for a blob that a row points to and that nobody can find."""
    return FileNotStored(
        f"blob {sha256} of tenant {tenant} is not stored; "
        "put the file again, and check that THREADMILL_FILE_STORE names the same place for every process"
    )


def check_expires(expires: timedelta) -> int:
    """The life of a URL in whole seconds. Raises `InvalidInput`."""
    if not timedelta(seconds=1) <= expires <= URL_EXPIRES_MAX:
        raise InvalidInput("expires", f"is {expires}", f"pass one second to {URL_EXPIRES_MAX.days} days")
    return int(expires.total_seconds())


def as_download(filename: str) -> str:
    """A Content-Disposition that saves the file under its name and never shows it in the page (RFC 6266)."""
    plain = _UNSAFE_IN_QUOTES.sub("_", filename)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(filename, safe='')}"
