"""Uploads that are over, as plain functions that a task or a test can call.

What stays true: one whose bytes cannot be removed stops no other, and keeps its row for the next run.
"""

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from typing import Any

from conversation.errors import FileStoreUnavailable, UploadsNotSupported
from store import uploads
from store.engine import Database
from store.files import BlobStore, open_file_store
from store.settings import Settings
from store.uploads import Over

#: Objects of one statement that looks for their rows.
PAGE = 1000
#: Tenants in whose part of the store one run looks for strays.
STRAY_TENANTS = 100
#: Failures in a row after which the file store counts as away.
FAILURES_MAX = 5
#: Seconds after which a run leaves the rest to the next one.
RUN_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Expired:
    """What a run came to."""

    #: Uploads that are forgotten now.
    expired: int
    #: The tenant behind which the next look for strays goes on; "" at the end.
    strays_after: str


def expire_after(database: Database, settings: Settings, last: Mapping[str, Any]) -> dict[str, Any]:
    """As `run_expiry`, for a schedule: `last` and the result are what a run leaves for the next one."""
    return asdict(run_expiry(database, settings, strays_after=last.get("strays_after", "")))


def run_expiry(database: Database, settings: Settings, *, strays_after: str = "") -> Expired:
    """Forget uploads that are over, with what was put for them; then look for strays, a bounded way further.

    One whose bytes cannot be removed stops no other; several in a row end the run. Raises
    `FileStoreUnavailable` for the last of them.
    """
    run = _Run(database, open_file_store(settings), time.monotonic() + RUN_SECONDS)
    try:
        run.expire()
        late = timedelta(seconds=settings.upload_expires_seconds + 2 * uploads.LATE_SECONDS)
        following = run.discard_strays(strays_after, late)
    finally:
        run.files.close()
    if run.failed is not None:
        raise run.failed
    return Expired(run.expired, following)


@dataclass(slots=True)
class _Run:
    """A run under way."""

    database: Database
    files: BlobStore
    #: By the clock of `time.monotonic`.
    until: float
    expired: int = 0
    failed: FileStoreUnavailable | None = None

    def expire(self) -> None:
        """Forget what is over, the oldest first."""
        after: Over | None = None
        in_a_row = 0
        while page := self.database.run(partial(uploads.over, after=after)):
            for upload in page:
                if time.monotonic() >= self.until:
                    return
                in_a_row = 0 if self._forget(upload) else in_a_row + 1
                if in_a_row == FAILURES_MAX:
                    assert self.failed is not None
                    raise self.failed
            after = page[-1]

    def _forget(self, upload: Over) -> bool:
        try:
            # Also of a complete one: its address was good until now, and may have been used again.
            _discard(self.files, upload.tenant, upload.id)
        except FileStoreUnavailable as error:
            self.failed = error
            return False
        self.expired += self.database.run(partial(uploads.forget, upload_id=upload.id))
        return True

    def discard_strays(self, after: str, late: timedelta) -> str:
        """Remove what a late client put for an upload that was forgotten; returns where to go on."""
        tenants = [tenant for tenant in self.files.tenants() if tenant > after]
        for tenant in tenants[:STRAY_TENANTS]:
            if time.monotonic() >= self.until:
                return after
            staged = self.files.list_uploads(tenant)
            while page := list(islice(staged, PAGE)):
                old = {each.upload_id for each in page if each.modified_at <= datetime.now(UTC) - late}
                known = self.database.run(partial(uploads.known, upload_ids=old))
                for upload_id in sorted(old - known):
                    _discard(self.files, tenant, upload_id)
            after = tenant
        return after if len(tenants) > STRAY_TENANTS else ""


def _discard(files: BlobStore, tenant: str, upload_id: str) -> None:
    # Promised while the files were in a bucket; now they are elsewhere.
    with suppress(UploadsNotSupported):
        files.discard_upload(tenant, upload_id)
