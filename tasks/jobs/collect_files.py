"""Garbage collection of files, in bounded runs, each of which continues where the last one ended.

What stays true: a file store that is away ends the run with its error; what was marked is found by the
next one. Where a run ended is kept without naming a file.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import structlog

from conversation.errors import FileStoreUnavailable
from store.blobs import BlobStore, StoredBlob, open_file_store
from store.database.engine import Database
from store.files import garbage_collection
from store.files.blob_rows import Address
from store.settings import Settings

#: Objects of one listing, at most; and of one statement that reads their rows.
LISTED_OBJECTS_MAX = 10_000
PAGE_SIZE = 1000
#: Characters of a hash that a run leaves for the next one, at least: where there are so many files that a
#: run ends among them, dozens begin with these two.
CURSOR_HASH_CHARS = 2
#: Failures in a row after which the file store counts as away.
FAILURES_MAX = 5
#: Seconds after which a run leaves the rest to the next one.
RUN_SECONDS = 300.0

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectOutcome:
    """The outcome of a run."""

    #: Blobs that were deleted, bytes and row.
    blobs: int = 0
    #: Bytes that no row knew: they have one now, and the grace.
    unknown: int = 0
    #: Positions from which the next scan of the rows, and the next listing of the store, continue.
    rows_after: Address | None = None
    listing_after: Address | None = None


def collect(
    database: Database,
    settings: Settings,
    *,
    rows_after: Address | None = None,
    listing_after: Address | None = None,
    grace_days: float | None = None,
) -> CollectOutcome:
    """Delete what is due, then scan a bounded number of rows and objects for unused ones."""
    grace = settings.blob_grace_days if grace_days is None else grace_days
    files = open_file_store(settings)
    until = time.monotonic() + RUN_SECONDS
    try:
        rows_after = database.run(
            garbage_collection.note_unused, after=rows_after or ("", ""), limit=garbage_collection.SCAN_ROWS
        )
        deleted_count = _delete_due(database, files, grace, until)
        unknown_count, listing_after = _enter_unknown(database, files, listing_after or ("", ""), grace, until)
    finally:
        files.close()
    outcome = CollectOutcome(
        blobs=deleted_count, unknown=unknown_count, rows_after=rows_after, listing_after=listing_after
    )
    _log.info("blobs_collected", blobs=deleted_count, unknown=unknown_count)
    return outcome


def run_scheduled_collection(database: Database, settings: Settings, last_outcome: Mapping[str, Any]) -> dict[str, Any]:
    """Run `collect` for a schedule: `last_outcome` and the result are what one run leaves for the next."""
    rows_after, listing_after = (
        _parse_address(last_outcome.get("rows_after")),
        _parse_address(last_outcome.get("listing_after")),
    )
    outcome = collect(database, settings, rows_after=rows_after, listing_after=listing_after)
    return asdict(outcome) | {
        "rows_after": _round_down(outcome.rows_after, rows_after),
        "listing_after": _round_down(outcome.listing_after, listing_after),
    }


def collect_all(database: Database, settings: Settings, *, grace_days: float | None = None) -> CollectOutcome:
    """Collect all that is due in the whole store, run after run, for an operator."""
    outcome = collect(database, settings, grace_days=grace_days)
    blobs, unknown = outcome.blobs, outcome.unknown
    while outcome.rows_after or outcome.listing_after:
        outcome = collect(
            database,
            settings,
            # A scan that came to its end stays there, while the other continues.
            rows_after=outcome.rows_after or ("\uffff", ""),
            listing_after=outcome.listing_after or ("\uffff", ""),
            grace_days=grace_days,
        )
        blobs, unknown = blobs + outcome.blobs, unknown + outcome.unknown
    return CollectOutcome(blobs=blobs, unknown=unknown)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownObjects:
    """Bytes in the file store that no row knows."""

    unknown: int = 0
    unknown_bytes: int = 0


def count_unknown(database: Database, settings: Settings) -> UnknownObjects:
    """Count the objects of the whole store that no row knows and that are older than the grace; read only."""
    files = open_file_store(settings)
    count = size = 0
    try:
        for tenant in files.list_tenants():
            objects = files.list(tenant)
            while page := list(islice(objects, PAGE_SIZE)):
                sizes = _find_unknown(database, tenant, page, settings.blob_grace_days)
                count, size = count + len(sizes), size + sum(sizes.values())
    finally:
        files.close()
    return UnknownObjects(unknown=count, unknown_bytes=size)


def _find_unknown(database: Database, tenant: str, page: Sequence[StoredBlob], grace_days: float) -> dict[str, int]:
    """Find the objects that no row knows, older than the grace: their sizes by hash."""
    # Younger ones may be on their way: what is put by a library has no row before its message.
    modified_before = datetime.now(UTC) - timedelta(days=grace_days)
    sizes = {each.sha256: each.size for each in page if each.modified_at <= modified_before}
    stored_hashes = database.run(garbage_collection.load_known_hashes, tenant=tenant, hashes=sizes)
    return {sha256: size for sha256, size in sizes.items() if sha256 not in stored_hashes}


def _parse_address(value: Sequence[str] | None) -> Address | None:
    """The address in a JSON list, which is the only sequence that JSON has."""
    return (value[0], value[1]) if value else None


def _round_down(cursor: Address | None, previous_cursor: Address | None) -> Address | None:
    """Shorten a cursor to one a little before it, still behind `previous_cursor`, that names no file.

    A stored cursor outlives files that are erased. What lies between the two is scanned twice.
    """
    if cursor is None:
        return None
    tenant, sha256 = cursor
    if previous_cursor is None or previous_cursor[0] != tenant:
        return tenant, ""
    previous_hash = previous_cursor[1] or "0" * len(sha256)
    prefixes = (sha256[:count].ljust(len(sha256), "0") for count in range(CURSOR_HASH_CHARS, len(sha256)))
    return tenant, next((each for each in prefixes if each > previous_hash), sha256)


def _delete_due(database: Database, files: BlobStore, grace_days: float, until: float) -> int:
    """Delete what is due. Bytes that cannot be deleted wait for a day, and stop no others."""
    total_deleted = 0
    while time.monotonic() < until:
        batch = database.run(garbage_collection.mark_due, grace_days=grace_days)
        deleted_count, failures = _delete_each(database, files, batch.addresses)
        total_deleted += deleted_count
        if len(failures) >= FAILURES_MAX and not deleted_count:
            # The store is away, not one object broken. The next run finds all of them again.
            raise failures[-1][1]
        for (tenant, sha256), error in failures:
            _log.warning("file_not_deleted", tenant=tenant, sha256=sha256, reason=type(error).__name__)
            database.run(garbage_collection.postpone, address=(tenant, sha256), grace_days=grace_days)
        if not deleted_count and not batch.used:
            break
    return total_deleted


def _delete_each(
    database: Database, files: BlobStore, addresses: Sequence[Address]
) -> tuple[int, list[tuple[Address, FileStoreUnavailable]]]:
    deleted_count, failures = 0, []
    for address in addresses:
        try:
            deleted_count += database.run(garbage_collection.delete_marked, address=address, delete_object=files.delete)
        except FileStoreUnavailable as error:
            failures.append((address, error))
            if len(failures) >= FAILURES_MAX and not deleted_count:
                break
    return deleted_count, failures


def _enter_unknown(
    database: Database, files: BlobStore, after: Address, grace_days: float, until: float
) -> tuple[int, Address | None]:
    """List the next objects of the store; returns how many no row knew, and the next cursor."""
    entered_count, remaining = 0, LISTED_OBJECTS_MAX
    for tenant in files.list_tenants():
        if tenant < after[0]:
            continue
        objects = files.list(tenant, after=after[1] if tenant == after[0] else "")
        while page := list(islice(objects, min(PAGE_SIZE, remaining))):
            rows = list(_find_unknown(database, tenant, page, grace_days).items())
            entered_count += len(database.run(garbage_collection.enter_unknown, tenant=tenant, objects=rows))
            remaining -= len(page)
            if remaining <= 0 or time.monotonic() >= until:
                return entered_count, (tenant, page[-1].sha256)
    return entered_count, None
