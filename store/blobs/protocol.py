"""The seam behind which bytes are kept, and the rules of an address that every store shares.

What stays true: an address is a tenant's plain name and 64 lower-case hex digits, checked before
it becomes part of a path or key; bytes that do not have the hash they are addressed by are neither
kept nor handed out.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from conversation.arguments import check_duration
from conversation.errors import FileNotStored, InvalidInput
from conversation.validation import check_sha256, check_tenant
from store.blobs.hashing import Content
from store.blobs.presigned import BlobUploads

#: The longest life that Signature Version 4 gives a signed URL; the local store keeps to it as well.
URL_EXPIRES_MAX = timedelta(days=7)


@dataclass(frozen=True)
class StoredBlob:
    """A blob as a listing names it: its bytes are unchecked."""

    sha256: str
    #: In bytes.
    size: int
    #: When it was put, by the clock of the server or disk that keeps it; aware.
    modified_at: datetime


class BlobStore(BlobUploads, Protocol):
    """Stores blobs. Every verb blocks; every verb may be called from any thread.

    Each raises `InvalidInput` for an address that is none, and `FileStoreUnavailable` when the server
    or disk does not answer, refuses, or is full. Whatever its size, a blob that is put from a file or
    read by `open` takes a few MiB of memory.
    """

    def put(self, tenant: str, sha256: str, content: Content, media_type: str) -> None:
        """Keep these bytes: durably once this returns, and any number of times with the same effect.

        A file is read from its beginning, more than once, and left open at some position. Raises
        `FileRejected` for bytes that do not have this hash, also where they change while they are read.
        """
        ...

    def get(self, tenant: str, sha256: str) -> bytes:
        """The bytes as they were put. Raises `FileNotStored` where they are missing or damaged."""
        ...

    def open(self, tenant: str, sha256: str) -> AbstractContextManager[Iterator[bytes]]:
        """The bytes in pieces of about 1 MiB, to be read inside of the `with`, once.

        Raises `FileNotStored`: at once where they are missing, after the last piece where they are
        damaged. A caller that acts before the end acts on unchecked bytes.
        """
        ...

    def exists(self, tenant: str, sha256: str) -> bool:
        """Whether the blob is there. It is not read, so damage goes unnoticed."""
        ...

    def delete(self, tenant: str, sha256: str) -> None:
        """Remove the blob, if it is there, with every older version that the store keeps of it."""
        ...

    def delete_tenant(self, tenant: str) -> int:
        """Remove all that a tenant has, uploads included; returns how many objects, each version counted.

        What is put meanwhile may stay. A deletion that was interrupted is run again.
        """
        ...

    def list(self, tenant: str, *, after: str = "") -> Iterator[StoredBlob]:
        """A tenant's blobs, ascending by hash, from the first behind `after`. Read page by page.

        What was put or deleted meanwhile may be missed.
        """
        ...

    def list_tenants(self) -> Iterator[str]:
        """The tenants that have something here, ascending. One whose last blob is gone may still be named."""
        ...

    def url(
        self, tenant: str, sha256: str, *, expires: timedelta, filename: str, media_type: str, inline: bool = False
    ) -> str:
        """Where a client can fetch the blob, as a download of this name. Made up without asking the store.

        `inline` lets a browser show it, if it is a picture that holds no program; see `download_headers`.
        """
        ...

    def close(self) -> None:
        """Release the connections. The store may be used again after."""
        ...


def check_address(tenant: str, sha256: str) -> None:
    """Refuse an address that could leave the folder of the tenant. Raises `InvalidInput`."""
    check_tenant(tenant)
    check_sha256("sha256", sha256)


def check_after(after: str) -> str:
    """The hash behind which a listing goes on; empty for its beginning. Raises `InvalidInput`."""
    return check_sha256("after", after) if after else ""


def not_stored_error(tenant: str, sha256: str) -> FileNotStored:
    """The error for a blob that a row points to and whose bytes are missing."""
    return FileNotStored(
        f"blob {sha256} of tenant {tenant} is not stored; "
        "put the file again, and check that THREADMILL_FILE_STORE_URL names the same store for every process"
    )


def is_tenant(name: str) -> bool:
    """Whether a folder's name can be a tenant's."""
    try:
        check_tenant(name)
    except InvalidInput:
        return False
    return True


def check_expires(expires: timedelta) -> int:
    """The life of a URL in whole seconds. Raises `InvalidInput`."""
    fix = f"pass one second to {URL_EXPIRES_MAX.days} days"
    life = check_duration("expires", expires, minimum=timedelta(seconds=1), maximum=URL_EXPIRES_MAX, fix=fix)
    return int(life.total_seconds())
