"""Expiry of uploads and of stored answers, as plain functions that a task or a test can call.

What stays true: an upload whose bytes cannot be removed stops no other, and keeps its row for the next run.
"""

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import structlog

from conversation.errors import FileStoreUnavailable, UploadsNotSupported
from store import idempotent_answers
from store.blobs import BlobStore, open_file_store
from store.database.engine import Database
from store.files import uploads
from store.files.uploads import ExpiredUpload
from store.settings import Settings

#: Objects of one statement that reads their rows.
PAGE_SIZE = 1000
#: Tenants in whose part of the store one run searches for strays.
STRAY_TENANTS_MAX = 100
#: Failures in a row after which the file store counts as away.
FAILURES_MAX = 5
#: Seconds after which a run leaves the rest to the next one.
RUN_SECONDS = 300.0

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpiryOutcome:
    """The outcome of a run."""

    #: Uploads that are forgotten now, and those whose bytes could not be removed.
    expired: int = 0
    failed: int = 0
    #: Answers of the gateway that are forgotten now.
    answers: int = 0
    #: Cursors of the next run, if this one did not come to the end: behind this upload, this tenant.
    over_after: ExpiredUpload | None = None
    strays_after: str = ""


def run_scheduled_expiry(database: Database, settings: Settings, last_outcome: Mapping[str, Any]) -> dict[str, Any]:
    """Run `run_expiry` for a schedule: `last_outcome` and the result are what one run leaves for the next."""
    cursor = last_outcome.get("over_after")
    over_after = ExpiredUpload(cursor[0], cursor[1], datetime.fromisoformat(cursor[2])) if cursor else None
    outcome = run_expiry(database, settings, over_after=over_after, strays_after=last_outcome.get("strays_after", ""))
    cursor = outcome.over_after
    cursor_json = [cursor.tenant, cursor.id, cursor.expires_at.isoformat()] if cursor is not None else None
    return asdict(outcome) | {"over_after": cursor_json}


def run_expiry(
    database: Database, settings: Settings, *, over_after: ExpiredUpload | None = None, strays_after: str = ""
) -> ExpiryOutcome:
    """Delete expired answers and uploads, with the bytes that were put for them; then a bounded number of strays.

    An upload whose bytes cannot be removed stops no other: it is tried again when all others were. Raises
    `FileStoreUnavailable` where the store cannot be listed either.
    """
    answers = _forget_answers(database)
    run = _Run(database, open_file_store(settings), time.monotonic() + RUN_SECONDS)
    try:
        over_after = run.expire(over_after)
        min_age = timedelta(seconds=settings.upload_max_age_seconds + 2 * uploads.LATE_SECONDS)
        strays_after = run.discard_strays(strays_after, min_age)
    finally:
        run.files.close()
    return ExpiryOutcome(
        expired=run.expired, failed=run.failed, answers=answers, over_after=over_after, strays_after=strays_after
    )


def _forget_answers(database: Database) -> int:
    """Forget answers that have expired, in transactions that are over soon."""
    total, until = 0, time.monotonic() + RUN_SECONDS
    while count := database.run(idempotent_answers.forget_expired):
        total += count
        if time.monotonic() >= until:
            break
    return total


@dataclass(slots=True)
class _Run:
    """A run under way."""

    database: Database
    files: BlobStore
    #: By the clock of `time.monotonic`.
    until: float
    expired: int = 0
    failed: int = 0

    def expire(self, after: ExpiredUpload | None) -> ExpiredUpload | None:
        """Delete expired uploads, the oldest first; returns the cursor of the next run."""
        failures_in_a_row = 0
        while page := self.database.run(uploads.load_expired, after=after):
            for upload in page:
                if self._discard_upload(upload.tenant, upload.id):
                    self.expired += self.database.run(uploads.forget, upload_id=upload.id)
                    failures_in_a_row = 0
                else:
                    failures_in_a_row += 1
                if failures_in_a_row == FAILURES_MAX or time.monotonic() >= self.until:
                    return upload
            after = page[-1]
        return None

    def _discard_upload(self, tenant: str, upload_id: str) -> bool:
        """Remove the bytes that were put for an upload; False if the store is away."""
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

    def discard_strays(self, after: str, min_age: timedelta) -> str:
        """Remove what late clients put for uploads that were deleted; returns the cursor of the next run."""
        tenants = [tenant for tenant in self.files.list_tenants() if tenant > after]
        for tenant in tenants[:STRAY_TENANTS_MAX]:
            if time.monotonic() >= self.until:
                return after
            objects = self.files.list_uploads(tenant)
            while page := list(islice(objects, PAGE_SIZE)):
                old_ids = {each.upload_id for each in page if each.modified_at <= datetime.now(UTC) - min_age}
                stored_ids = self.database.run(uploads.load_known_ids, upload_ids=old_ids)
                for upload_id in sorted(old_ids - stored_ids):
                    self._discard_upload(tenant, upload_id)
            after = tenant
        return after if len(tenants) > STRAY_TENANTS_MAX else ""
