"""Blobs in the memory of this process: for tests, and for a library that keeps nothing.

What stays true: what is kept is gone with the process, and no other process sees it, so that workers
and producers cannot share it. Everything else is as in the other stores.
"""

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from threading import Lock

from conversation.validation import check_tenant
from store.blobs.download_headers import served_type
from store.blobs.hashing import CHUNK_BYTES, Content, read_verified_pieces, verify_stored_pieces
from store.blobs.presigned import NoUploads
from store.blobs.protocol import StoredBlob, check_address, check_after, check_expires, not_stored_error


@dataclass(frozen=True)
class BlobContent:
    """The bytes of one blob."""

    content: bytes
    modified_at: datetime = field(default_factory=lambda: datetime.now(UTC))


class MemoryBlobs(NoUploads):
    """Keeps blobs in a dictionary of its own."""

    def __init__(self) -> None:
        self._tenants: dict[str, dict[str, BlobContent]] = {}
        self._lock = Lock()

    def put(self, tenant: str, sha256: str, content: Content, media_type: str) -> None:  # noqa: ARG002 - a dictionary keeps no types
        check_address(tenant, sha256)
        blob = BlobContent(b"".join(read_verified_pieces(sha256, content)))
        with self._lock:
            tenant_blobs = self._tenants.setdefault(tenant, {})
            # As a folder does: what is whole stays, what is damaged is healed.
            if sha256 not in tenant_blobs or tenant_blobs[sha256].content != blob.content:
                tenant_blobs[sha256] = blob

    def get(self, tenant: str, sha256: str) -> bytes:
        with self.open(tenant, sha256) as pieces:
            return b"".join(pieces)

    @contextmanager
    def open(self, tenant: str, sha256: str) -> Iterator[Iterator[bytes]]:
        content = self._content(tenant, sha256)
        starts = range(0, len(content), CHUNK_BYTES)
        yield verify_stored_pieces(tenant, sha256, (content[start : start + CHUNK_BYTES] for start in starts))

    def exists(self, tenant: str, sha256: str) -> bool:
        check_address(tenant, sha256)
        with self._lock:
            return sha256 in self._tenants.get(tenant, {})

    def delete(self, tenant: str, sha256: str) -> None:
        check_address(tenant, sha256)
        with self._lock:
            self._tenants.get(tenant, {}).pop(sha256, None)

    def delete_tenant(self, tenant: str) -> int:
        check_tenant(tenant)
        with self._lock:
            return len(self._tenants.pop(tenant, {}))

    def list(self, tenant: str, *, after: str = "") -> Iterator[StoredBlob]:
        check_tenant(tenant)
        check_after(after)
        with self._lock:
            items = sorted(self._tenants.get(tenant, {}).items())
        for sha256, blob in items:
            if sha256 > after:
                yield StoredBlob(sha256, len(blob.content), blob.modified_at)

    def list_tenants(self) -> Iterator[str]:
        with self._lock:
            names = sorted(tenant for tenant, kept in self._tenants.items() if kept)
        yield from names

    def url(
        self,
        tenant: str,
        sha256: str,
        *,
        expires: timedelta,
        filename: str,  # noqa: ARG002 - a data: URL has no name
        media_type: str,
        inline: bool = False,  # noqa: ARG002 - nor a disposition
    ) -> str:
        """A `data:` address, which holds the bytes themselves and never expires."""
        check_expires(expires)
        content = self._content(tenant, sha256)
        return f"data:{served_type(media_type)};base64,{base64.b64encode(content).decode()}"

    def close(self) -> None:
        """Nothing is held open, and what was put stays."""

    def _content(self, tenant: str, sha256: str) -> bytes:
        check_address(tenant, sha256)
        with self._lock:
            blob = self._tenants.get(tenant, {}).get(sha256)
        if blob is None:
            raise not_stored_error(tenant, sha256)
        return blob.content


@lru_cache(maxsize=1)
def shared_blobs() -> MemoryBlobs:
    """The one store behind every `memory:` of this process."""
    return MemoryBlobs()
