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

import structlog

from conversation.errors import FileStoreUnavailable, UploadsNotSupported
from store.blobs import BlobStore, open_file_store
from store.database.engine import Database
from store.files import uploads
from store.files.uploads import Over
from store.settings import Settings

#: Objects of one statement that looks for their rows.
PAGE = 1000
#: Tenants in whose part of the store one run looks for strays.
STRAY_TENANTS = 100
#: Failures in a row after which the file store counts as away.
FAILURES_MAX = 5
#: Seconds after which a run leaves the rest to the next one.
RUN_SECONDS = 300.0

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expired:
    """What a run came to."""

    #: Uploads that are forgotten now, and those whose bytes could not be removed.
    expired: int = 0
    failed: int = 0
    #: Where the next run goes on, if this one did not come to the end: behind this upload, this tenant.
    over_after: Over | None = None
    strays_after: str = ""


def expire_after(database: Database, settings: Settings, last: Mapping[str, Any]) -> dict[str, Any]:
    """As `run_expiry`, for a schedule: `last` and the result are what a run leaves for the next one."""
    place = last.get("over_after")
    over_after = Over(place[0], place[1], datetime.fromisoformat(place[2])) if place else None
    done = run_expiry(database, settings, over_after=over_after, strays_after=last.get("strays_after", ""))
    place = done.over_after
    told = [place.tenant, place.id, place.expires_at.isoformat()] if place is not None else None
    return asdict(done) | {"over_after": told}


def run_expiry(
    database: Database, settings: Settings, *, over_after: Over | None = None, strays_after: str = ""
) -> Expired:
    """Forget uploads that are over, with what was put for them; then look for strays, a bounded way further.

    One whose bytes cannot be removed stops no other: it is tried again when all others were. Raises
    `FileStoreUnavailable` where the store cannot be listed either.
    """
    run = _Run(database, open_file_store(settings), time.monotonic() + RUN_SECONDS)
    try:
        over_after = run.expire(over_after)
        late = timedelta(seconds=settings.upload_expires_seconds + 2 * uploads.LATE_SECONDS)
        strays_after = run.discard_strays(strays_after, late)
    finally:
        run.files.close()
    return Expired(expired=run.expired, failed=run.failed, over_after=over_after, strays_after=strays_after)


@dataclass(slots=True)
class _Run:
    """A run under way."""

    database: Database
    files: BlobStore
    #: By the clock of `time.monotonic`.
    until: float
    expired: int = 0
    failed: int = 0

    def expire(self, after: Over | None) -> Over | None:
        """Forget what is over, the oldest first; returns where to go on."""
        in_a_row = 0
        while page := self.database.run(partial(uploads.over, after=after)):
            for upload in page:
                if self._is_gone(upload.tenant, upload.id):
                    self.expired += self.database.run(partial(uploads.forget, upload_id=upload.id))
                    in_a_row = 0
                else:
                    in_a_row += 1
                if in_a_row == FAILURES_MAX or time.monotonic() >= self.until:
                    return upload
            after = page[-1]
        return None

    def _is_gone(self, tenant: str, upload_id: str) -> bool:
        """Remove what was put for an upload, and whether that could be done."""
        try:
            # Promised while the files were in a bucket; now they may be elsewhere. Also of a complete one:
            # its address was good until now, and may have been used again.
            with suppress(UploadsNotSupported):
                self.files.discard_upload(tenant, upload_id)
        except FileStoreUnavailable as error:
            self.failed += 1
            _log.warning("upload_not_removed", tenant=tenant, upload=upload_id, reason=type(error).__name__)
            return False
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
                    self._is_gone(tenant, upload_id)
            after = tenant
        return after if len(tenants) > STRAY_TENANTS else ""
