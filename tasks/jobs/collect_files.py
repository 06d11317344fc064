"""Garbage collection of files, in bounded runs that go on where the one before ended.

What stays true: a file store that is away ends the run with its error; what was marked is found by the
next one. Where a run ended is kept without naming a file.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from typing import Any

import structlog

from conversation.errors import FileStoreUnavailable
from store.blobs import BlobStore, StoredBlob, open_file_store
from store.database.engine import Database
from store.files import garbage_collection
from store.files.garbage_collection import Address
from store.settings import Settings

#: Objects of one listing, at most; and of one statement that looks for their rows.
LISTED = 10_000
PAGE = 1000
#: Characters of a hash that a run leaves for the next one, at least: where there are so many files that a
#: run ends among them, dozens begin with these two.
PLACE_CHARS = 2
#: Failures in a row after which the file store counts as away.
FAILURES_MAX = 5
#: Seconds after which a run leaves the rest to the next one.
RUN_SECONDS = 300.0

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """What a run came to."""

    #: Blobs that were deleted, bytes and row.
    blobs: int = 0
    #: Bytes that no row knew: they have one now, and the grace.
    unknown: int = 0
    #: Where the next look through the rows, and the next listing of the store, go on.
    rows_after: Address | None = None
    listing_after: Address | None = None


def collect(
    database: Database,
    settings: Settings,
    *,
    rows_after: Address | None = None,
    listing_after: Address | None = None,
    grace_days: float | None = None,
) -> Collected:
    """Delete what is due, then look a bounded way further for what nobody uses."""
    grace = settings.blob_grace_days if grace_days is None else grace_days
    files = open_file_store(settings)
    until = time.monotonic() + RUN_SECONDS
    try:
        rows_after = database.run(
            partial(
                garbage_collection.note_unused, after=rows_after or ("", ""), limit=garbage_collection.SCAN
            )
        )
        gone = _delete_due(database, files, grace, until)
        listed, listing_after = _enter_unknown(database, files, listing_after or ("", ""), grace, until)
    finally:
        files.close()
    collected = Collected(blobs=gone, unknown=listed, rows_after=rows_after, listing_after=listing_after)
    _log.info("blobs_collected", blobs=gone, unknown=listed)
    return collected


def collect_after(database: Database, settings: Settings, last: Mapping[str, Any]) -> dict[str, Any]:
    """As `collect`, for a schedule: `last` and the result are what a run leaves for the next one."""
    rows_after, listing_after = _address(last.get("rows_after")), _address(last.get("listing_after"))
    done = collect(database, settings, rows_after=rows_after, listing_after=listing_after)
    return asdict(done) | {
        "rows_after": _rounded(done.rows_after, rows_after),
        "listing_after": _rounded(done.listing_after, listing_after),
    }


def collect_all(database: Database, settings: Settings, *, grace_days: float | None = None) -> Collected:
    """Runs from one end to the other, for a person who asks for it."""
    done = collect(database, settings, grace_days=grace_days)
    blobs, unknown = done.blobs, done.unknown
    while done.rows_after or done.listing_after:
        done = collect(
            database,
            settings,
            # What came to its end stays there, while the other goes on.
            rows_after=done.rows_after or ("\uffff", ""),
            listing_after=done.listing_after or ("\uffff", ""),
            grace_days=grace_days,
        )
        blobs, unknown = blobs + done.blobs, unknown + done.unknown
    return Collected(blobs=blobs, unknown=unknown)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """Bytes in the file store that no row knows."""

    unknown: int = 0
    unknown_bytes: int = 0


def count_unknown(database: Database, settings: Settings) -> Unknown:
    """What a listing of the whole store finds, of those older than the grace. Nothing is changed."""
    files = open_file_store(settings)
    count = size = 0
    try:
        for tenant in files.tenants():
            objects = files.list(tenant)
            while page := list(islice(objects, PAGE)):
                found = _without_row(database, tenant, page, settings.blob_grace_days)
                count, size = count + len(found), size + sum(found.values())
    finally:
        files.close()
    return Unknown(unknown=count, unknown_bytes=size)


def _without_row(
    database: Database, tenant: str, page: Sequence[StoredBlob], grace_days: float
) -> dict[str, int]:
    """Sizes of those that no row knows, by hash."""
    # Younger ones may be on their way: what is put by a library has no row before its message.
    old = datetime.now(UTC) - timedelta(days=grace_days)
    found = {each.sha256: each.size for each in page if each.modified_at <= old}
    known = database.run(partial(garbage_collection.known, tenant=tenant, hashes=found))
    return {sha256: size for sha256, size in found.items() if sha256 not in known}


def _address(value: Sequence[str] | None) -> Address | None:
    """JSON has lists only."""
    return (value[0], value[1]) if value else None


def _rounded(place: Address | None, before: Address | None) -> Address | None:
    """A place a little before this one, behind that `before`, which names no file.

    It outlives files that are erased. What lies between is looked at twice.
    """
    if place is None:
        return None
    tenant, sha256 = place
    if before is None or before[0] != tenant:
        return tenant, ""
    begun = before[1] or "0" * len(sha256)
    shorter = (sha256[:count].ljust(len(sha256), "0") for count in range(PLACE_CHARS, len(sha256)))
    return tenant, next((each for each in shorter if each > begun), sha256)


def _delete_due(database: Database, files: BlobStore, grace_days: float, until: float) -> int:
    """Delete what is due. Bytes that cannot be deleted wait for a day, and stop no others."""
    gone = 0
    while time.monotonic() < until:
        marked = database.run(partial(garbage_collection.mark_due, grace_days=grace_days))
        deleted, failed = _delete_each(database, files, marked.addresses)
        gone += deleted
        if len(failed) >= FAILURES_MAX and not deleted:
            # It is away, not one object's fault. All are found again.
            raise failed[-1][1]
        for (tenant, sha256), error in failed:
            _log.warning("file_not_deleted", tenant=tenant, sha256=sha256, reason=type(error).__name__)
            database.run(partial(garbage_collection.put_off, address=(tenant, sha256), grace_days=grace_days))
        if not deleted and not marked.used:
            break
    return gone


def _delete_each(
    database: Database, files: BlobStore, addresses: Sequence[Address]
) -> tuple[int, list[tuple[Address, FileStoreUnavailable]]]:
    deleted, failed = 0, []
    for address in addresses:
        try:
            delete = partial(garbage_collection.delete_marked, address=address, delete_object=files.delete)
            deleted += database.run(delete)
        except FileStoreUnavailable as error:
            failed.append((address, error))
            if len(failed) >= FAILURES_MAX and not deleted:
                break
    return deleted, failed


def _enter_unknown(
    database: Database, files: BlobStore, after: Address, grace_days: float, until: float
) -> tuple[int, Address | None]:
    """Look through the next objects of the store; returns how many no row knew, and where to go on."""
    entered, left = 0, LISTED
    for tenant in files.tenants():
        if tenant < after[0]:
            continue
        objects = files.list(tenant, after=after[1] if tenant == after[0] else "")
        while page := list(islice(objects, min(PAGE, left))):
            rows = list(_without_row(database, tenant, page, grace_days).items())
            entered += len(database.run(partial(garbage_collection.enter_unknown, tenant=tenant, found=rows)))
            left -= len(page)
            if left <= 0 or time.monotonic() >= until:
                return entered, (tenant, page[-1].sha256)
    return entered, None
