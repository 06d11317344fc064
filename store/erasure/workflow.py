"""An erasure from its request to its certificate.

What stays true: every step is a transaction of its own and finds again what is left, so that a call
after a crash, or at the same time, comes to the same end. A step of an erasure that another process
has finished is rolled back: rows that are stored after a certificate stay.
"""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from sqlalchemy import Connection

from conversation.errors import ThreadUnderLegalHold
from store.blobs import BlobStore
from store.database.engine import Operation, TransactionRunner
from store.erasure import archives, certificate, sent_turns, slack, steps
from store.erasure.certificate import Certificate
from store.erasure.standing_rows import delete_keys, delete_schedules
from store.erasure.subject import Subject, load_branch_keys, load_thread_keys
from store.erasure.unfinished import ErasureOver, OutOfTime, record_work
from store.retention import archive, deletion
from store.tables.retention import ARCHIVES

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Steps:
    """Runs the steps of one erasure, until it is finished or its time is over."""

    database: TransactionRunner
    erasure_id: str
    #: By the clock of `time.monotonic`.
    until: float

    def run(self, operation: Operation[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """As `Database.run`. Raises `ErasureOver` and `OutOfTime`."""
        if time.monotonic() >= self.until:
            raise OutOfTime("the time of this run is over; a later one goes on")

        def step(connection: Connection) -> T:
            result = operation(connection, *args, **kwargs)
            # At the end, so that a transaction that locks the erasure's row waits for no other lock.
            record_work(connection, self.erasure_id)
            return result

        return self.database.run(step)


def run_erasure(database: TransactionRunner, files: BlobStore, subject: Subject) -> Certificate:
    """Erase a subject; returns the certificate. An erasure that broke off is resumed.

    A subject of which nothing is stored gives the certificate of its last erasure, else one that counts nothing,
    with the outcome that nothing was found. A whole tenant is searched, and certified, each time. Raises
    `ThreadUnderLegalHold`, and `FileStoreUnavailable`: then it can be called again.
    """
    subject.check()
    if not subject.whole_tenant and not database.run(steps.is_stored, subject=subject):
        latest_certificate = database.run(certificate.load_latest, subject=subject)
        if latest_certificate is not None:
            return latest_certificate
    erasure_id = database.run(steps.begin, subject=subject)
    return resume_erasure(database, files, erasure_id, subject)


def resume_erasure(
    database: TransactionRunner, files: BlobStore, erasure_id: str, subject: Subject, *, until: float = math.inf
) -> Certificate:
    """Resume an erasure that was begun, by this process or another one.

    Raises as `run_erasure` does, and `OutOfTime` when `time.monotonic()` comes to `until`.
    """
    try:
        _erase(_Steps(database, erasure_id, until), files, erasure_id, subject)
    except ThreadUnderLegalHold:
        _release_threads(database, erasure_id)
        raise
    except ErasureOver:
        # The process that finished it has made its certificate.
        pass
    return database.run(certificate.finish, erasure_id=erasure_id, subject=subject)


def _erase(database: TransactionRunner, files: BlobStore, erasure_id: str, subject: Subject) -> None:
    """Run all steps of an erasure. Raises `ThreadUnderLegalHold`, and `FileStoreUnavailable`."""
    database.run(steps.check_not_held, subject=subject)
    if subject.thread_id is None:
        # First: whoever has one of these sends nothing more meanwhile.
        database.run(delete_keys, erasure_id=erasure_id, subject=subject)
    # Before its threads: a run that is under way has stored its turn then, in a thread that is erased.
    database.run(delete_schedules, erasure_id=erasure_id, subject=subject)
    for key in iterate_thread_keys(database, subject):
        # Before anything is deleted, so that no thread of the subject is at work meanwhile.
        database.run(steps.lock_out_thread, erasure_id=erasure_id, subject=subject, key=key)
    # Each after those that were branched from it.
    for key in iterate_thread_keys(database, subject, newest_first=True):
        _erase_thread(database, erasure_id, subject, key)
    for key in _iterate_locked_out_keys(database, erasure_id):
        _erase_thread(database, erasure_id, subject, key)
    for step in (
        *(sent_turns.erase_sent_turns, slack.delete_slack_messages),
        *(steps.record_dropped_files, steps.record_uploads),
    ):
        while database.run(step, erasure_id=erasure_id, subject=subject):
            pass
    if subject.whole_tenant:
        _record_all_files(database, erasure_id, subject)
    _erase_files(database, files, erasure_id, subject)
    if subject.whole_tenant:
        _erase_tenant_remainder(database, files, erasure_id, subject)
    database.run(steps.redact_deleted_files, erasure_id=erasure_id, tenant=subject.tenant)
    if subject.thread_id is not None:
        database.run(steps.forget_policy, tenant=subject.tenant, thread_id=subject.thread_id, erasure_id=erasure_id)


def _release_threads(database: TransactionRunner, erasure_id: str) -> None:
    """Release the locked out threads while a legal hold stops the erasure: they are read again meanwhile."""
    for key in _iterate_locked_out_keys(database, erasure_id):
        database.run(steps.release_thread, erasure_id=erasure_id, key=key)


def _iterate_locked_out_keys(database: TransactionRunner, erasure_id: str) -> Iterator[int]:
    """Iterate over the keys of threads that the erasure locked out and that still exist, descending.

    What they shared of others that were deleted before is among them, as soon as nobody else does.
    """
    after = None
    while page := database.run(steps.load_locked_out_keys, erasure_id=erasure_id, after=after):
        yield from page
        after = page[-1]


def iterate_thread_keys(database: TransactionRunner, subject: Subject, *, newest_first: bool = False) -> Iterator[int]:
    """Iterate over the keys of the subject's threads and their branches, ascending or descending."""
    after = None
    while page := database.run(
        load_thread_keys, subject=subject, after=after, limit=steps.PAGE, newest_first=newest_first
    ):
        yield from page
        after = page[-1]


def _erase_thread(database: TransactionRunner, erasure_id: str, subject: Subject, key: int) -> None:
    """Erase a thread batch by batch, with what is sent to it meanwhile, until its row is gone."""
    while database.run(steps.lock_out_thread, erasure_id=erasure_id, subject=subject, key=key):
        for branch_key in database.run(load_branch_keys, key=key):
            _erase_thread(database, erasure_id, subject, branch_key)
        has_more = True
        while has_more:
            outcome = database.run(deletion.remove_next_batch, key=key, erasure_id=erasure_id)
            has_more = outcome is not None and not outcome.is_over
        database.run(steps.end_thread, erasure_id=erasure_id, tenant=subject.tenant, key=key)


def _record_all_files(database: TransactionRunner, erasure_id: str, subject: Subject) -> None:
    """Record all files of the tenant for erasure, also those that no thread had."""
    after: str | None = ""
    while after is not None:
        after = database.run(steps.record_files, tenant=subject.tenant, after=after, erasure_id=erasure_id)


def _erase_tenant_remainder(database: TransactionRunner, files: BlobStore, erasure_id: str, subject: Subject) -> None:
    """Erase what belongs to no thread, at last every version of every object of the tenant."""
    database.run(steps.delete_tenant_rows, tenant=subject.tenant, erasure_id=erasure_id)
    objects = files.delete_tenant(subject.tenant)
    database.run(steps.count_objects, erasure_id=erasure_id, objects=objects)


def _erase_files(database: TransactionRunner, files: BlobStore, erasure_id: str, subject: Subject) -> None:
    """Erase files that no other message has, then archives."""
    while hashes := database.run(steps.load_remaining_files, erasure_id=erasure_id):
        for sha256 in hashes:
            database.run(steps.mark_file, subject=subject, sha256=sha256, erasure_id=erasure_id)
            database.run(
                steps.remove_file, subject=subject, sha256=sha256, erasure_id=erasure_id, delete_object=files.delete
            )
    while rows := database.run(archives.load_archives, erasure_id=erasure_id, subject=subject):
        for row in rows:
            database.run(archives.mark_archive, erasure_id=erasure_id, row=row)
            files.delete(ARCHIVES, row.sha256)
            database.run(archive.delete_part, archive_key=row.key)
