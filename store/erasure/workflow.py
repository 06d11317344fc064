"""An erasure from its request to its certificate.

What stays true: every step is a transaction of its own and finds again what is left, so that whoever
calls again after a crash, or at the same time, comes to the same end. A step of an erasure that
somebody else has finished is rolled back: what is stored after a certificate stays.
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from sqlalchemy import Connection

from conversation.errors import ThreadHeld
from store.blobs import BlobStore
from store.database.engine import Runs
from store.erasure import archives, certificate, steps
from store.erasure.certificate import Certificate
from store.erasure.subject import Subject, keys_of
from store.erasure.unfinished import ErasureOver, OutOfTime, note_work
from store.retention import deletion
from store.tables.retention import ARCHIVES

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Steps:
    """Runs the steps of one erasure, for as long as nobody has finished it."""

    database: Runs
    erasure_id: str
    #: By the clock of `time.monotonic`.
    until: float

    def run(self, operation: Callable[[Connection], T]) -> T:
        """As `Database.run`. Raises `ErasureOver` and `OutOfTime`."""
        if time.monotonic() >= self.until:
            raise OutOfTime("the time of this run is over; a later one goes on")

        def step(connection: Connection) -> T:
            result = operation(connection)
            # At the end: whoever has the erasure's row waits for no other.
            note_work(connection, self.erasure_id)
            return result

        return self.database.run(step)


def run_erasure(database: Runs, files: BlobStore, subject: Subject) -> Certificate:
    """Erase a subject; returns the certificate. What broke off is taken up again.

    A subject of which nothing is stored gives the certificate of its last erasure, else one that
    counts nothing. A whole tenant is looked through, and certified, each time. Raises `ThreadHeld`, and
    `FileStoreUnavailable`: then it can be called again.
    """
    subject.check()
    if not subject.everything and not database.run(partial(steps.is_stored, subject=subject)):
        last = database.run(partial(certificate.latest, subject=subject))
        if last is not None:
            return last
    erasure_id = database.run(partial(steps.begin, subject=subject))
    return go_on(database, files, erasure_id, subject)


def go_on(
    database: Runs, files: BlobStore, erasure_id: str, subject: Subject, *, until: float = math.inf
) -> Certificate:
    """Go on with an erasure that was begun, by this process or another one.

    Raises as `run_erasure` does, and `OutOfTime` when `time.monotonic()` comes to `until`.
    """
    try:
        _erase(_Steps(database, erasure_id, until), files, erasure_id, subject)
    except ThreadHeld:
        _give_back(database, erasure_id)
        raise
    except ErasureOver:
        # Whoever finished it has made its certificate.
        pass
    return database.run(partial(certificate.finish, erasure_id=erasure_id, subject=subject))


def _erase(database: Runs, files: BlobStore, erasure_id: str, subject: Subject) -> None:
    """All of it. Raises `ThreadHeld`, and `FileStoreUnavailable`."""
    database.run(partial(steps.check_not_held, subject=subject))
    for key in keys(database, subject):
        # Before anything is deleted, so that no thread of a person is left at work meanwhile.
        database.run(partial(steps.fence_off, erasure_id=erasure_id, subject=subject, key=key))
    for key in keys(database, subject):
        _erase_thread(database, erasure_id, subject, key)
    for key in _fenced_off(database, erasure_id):
        _erase_thread(database, erasure_id, subject, key)
    while database.run(partial(steps.remember_dropped, erasure_id=erasure_id, subject=subject)):
        pass
    if subject.everything:
        _enter_all_files(database, erasure_id, subject)
    _erase_files(database, files, erasure_id, subject)
    if subject.everything:
        _erase_rest(database, files, erasure_id, subject)
    database.run(partial(steps.forget_files, erasure_id=erasure_id, tenant=subject.tenant))
    if subject.thread_id is not None:
        forget = partial(steps.forget_policy, tenant=subject.tenant, thread_id=subject.thread_id)
        database.run(partial(forget, erasure_id=erasure_id))


def _give_back(database: Runs, erasure_id: str) -> None:
    """A hold stands in the way, for as long as it may: what is still there is read again meanwhile."""
    for key in _fenced_off(database, erasure_id):
        database.run(partial(steps.give_back, erasure_id=erasure_id, key=key))


def _fenced_off(database: Runs, erasure_id: str) -> Iterator[int]:
    """The keys of threads that it has fenced off and that are still there, ascending."""
    after = 0
    while page := database.run(partial(steps.fenced_off, erasure_id=erasure_id, after=after)):
        yield from page
        after = page[-1]


def keys(database: Runs, subject: Subject) -> Iterator[int]:
    """The keys of the subject's threads, ascending."""
    after = 0
    while page := database.run(partial(keys_of, subject=subject, after=after, limit=steps.PAGE)):
        yield from page
        after = page[-1]


def _erase_thread(database: Runs, erasure_id: str, subject: Subject, key: int) -> None:
    """Batch by batch; what is sent to it meanwhile goes, too, until its row is gone."""
    fence_off = partial(steps.fence_off, erasure_id=erasure_id, subject=subject, key=key)
    batch = partial(deletion.remove_next, key=key, erasure_id=erasure_id)
    while database.run(fence_off):
        removed = database.run(batch)
        while removed is not None and not removed.is_over:
            removed = database.run(batch)
        database.run(partial(steps.end_thread, erasure_id=erasure_id, tenant=subject.tenant, key=key))


def _enter_all_files(database: Runs, erasure_id: str, subject: Subject) -> None:
    """Also those that no thread had."""
    after: str | None = ""
    while after is not None:
        enter = partial(steps.remember_files, tenant=subject.tenant, after=after)
        after = database.run(partial(enter, erasure_id=erasure_id))


def _erase_rest(database: Runs, files: BlobStore, erasure_id: str, subject: Subject) -> None:
    """What belongs to no thread; at last all that the file store has of the tenant, in every version."""
    forget = partial(steps.forget_tenant, tenant=subject.tenant)
    database.run(partial(forget, erasure_id=erasure_id))
    objects = files.delete_tenant(subject.tenant)
    database.run(partial(steps.count_objects, erasure_id=erasure_id, objects=objects))


def _erase_files(database: Runs, files: BlobStore, erasure_id: str, subject: Subject) -> None:
    """What nobody else has; then what retention put aside."""
    while hashes := database.run(partial(steps.files_left, erasure_id=erasure_id)):
        for sha256 in hashes:
            # Marked first, in a transaction of its own: see `blob_gc`.
            mark = partial(steps.mark_file, subject=subject, sha256=sha256)
            database.run(partial(mark, erasure_id=erasure_id))
            remove = partial(steps.remove_file, subject=subject, sha256=sha256)
            database.run(partial(remove, erasure_id=erasure_id, delete_object=files.delete))
    while rows := database.run(partial(archives.archives_of, erasure_id=erasure_id, subject=subject)):
        for row in rows:
            database.run(partial(archives.mark_archive, erasure_id=erasure_id, row=row))
            files.delete(ARCHIVES, row.sha256)
            database.run(partial(archives.remove_archive, row=row))
