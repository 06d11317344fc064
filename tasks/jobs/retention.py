"""Retention and the purge of old turns, as plain functions that a task, a command or a test can call.

What stays true: everything is done in short transactions, and found again by the next run; a thread
that cannot be archived keeps its messages and stops no other.
"""

import time
from collections import Counter
from dataclasses import asdict, dataclass, field

import structlog

from conversation.errors import DatabaseRefused, FileNotStored, FileStoreUnavailable
from store.blobs import BlobStore, open_file_store
from store.database.engine import Database
from store.retention import archive, deletion, due, move_cut, policies, purge
from store.retention.deletion import BatchOutcome, Counts
from store.schedules.deletion import purge_ended
from store.settings import Settings
from store.tables.retention import ARCHIVES
from tasks.jobs.collect_files import collect_all
from tasks.jobs.resume_erasures import resume_erasures

#: Seconds of one run: the next one continues with the remainder.
RUN_SECONDS = 300.0
#: Threads that may wait in vain for the file store before it counts as away.
STORE_FAILURES_MAX = 3
#: Parts of archives that one run discards, at most.
LEFTOVER_PARTS_MAX = 1000

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class RetentionOutcome:
    """The outcome of a run of retention."""

    threads: int = 0
    messages: int = 0
    #: Of the messages' text.
    bytes: int = 0
    turns: int = 0
    #: Threads that are due and stay: under legal hold, or at work.
    held: int = 0
    busy: int = 0
    #: Parts of archives that were written, and threads whose archive failed.
    archived: int = 0
    failed: int = 0
    blobs: int = 0
    #: Erasures that had broken off: finished now, stopped by a legal hold, and still not finished.
    erased: int = 0
    erasures_held: int = 0
    erasures_left: int = 0

    def add(self, counts: Counts) -> None:
        self.threads += counts.get("threads", 0)
        self.messages += counts.get("messages", 0)
        self.bytes += counts.get("bytes", 0)
        self.turns += counts.get("turns", 0)


@dataclass(slots=True)
class _Run:
    """A run under way."""

    database: Database
    settings: Settings
    files: BlobStore
    outcome: RetentionOutcome = field(default_factory=RetentionOutcome)
    until: float = field(default_factory=lambda: time.monotonic() + RUN_SECONDS)
    #: Threads in a row for which the file store gave no answer.
    store_failures: int = 0

    def is_over(self) -> bool:
        return time.monotonic() >= self.until

    def resume_erasures(self) -> None:
        """Resume erasures, which users have asked for: first of all, and in a time of their own."""
        outcome = resume_erasures(self.database, self.files)
        self.outcome.erased = outcome.finished
        self.outcome.erasures_held, self.outcome.erasures_left = outcome.held, outcome.unfinished
        self.until = time.monotonic() + RUN_SECONDS

    def discard_leftovers(self) -> None:
        """Remove parts that crashed runs have left in the file store, whatever became of their threads."""
        for leftover in self.database.run(archive.list_abandoned_parts, limit=LEFTOVER_PARTS_MAX):
            try:
                self._discard_part(*leftover)
            except FileStoreUnavailable as error:
                self.outcome.failed += 1
                _log.warning("archive_not_discarded", archive=leftover[0], reason=type(error).__name__)
                break

    def rescan_changed_policies(self) -> None:
        """Scan threads again whose policy changed: what was checked under the old one does not count."""
        while not self.is_over() and self.database.run(policies.rescan_next_threads):
            pass

    def move_cutoffs(self) -> None:
        """Hide what is past its time: nothing of a thread is deleted while it can still be read."""
        states: dict[int, str] = {}
        for key in due.find_due_threads(self.database):
            if self.is_over():
                break
            states[key] = self.database.run(move_cut.move_cutoff, key=key).outcome
        counts = Counter(states.values())
        self.outcome.held, self.outcome.busy = counts["held"], counts["busy"]

    def delete_hidden(self) -> None:
        """Delete what the cutoffs hide, batch by batch, and a thread's row at last."""
        for row in due.find_pending_deletions(self.database):
            if self.is_over():
                break
            if row.archive and self.store_failures >= STORE_FAILURES_MAX:
                # The file store is away: what is to be archived waits for the next run.
                continue
            remove_batch = self._archive_and_remove_batch if row.archive else self._remove_batch
            while not self.is_over() and (progress := remove_batch(row.key)) is not None:
                self.outcome.add(progress.counts)
                if progress.is_over and self._finish_thread(row.key):
                    break

    def _remove_batch(self, key: int) -> BatchOutcome | None:
        return self.database.run(deletion.remove_next_batch, key=key)

    def _finish_thread(self, key: int) -> bool:
        """Delete the thread's row where it is due; True once nothing of the thread is left to do."""
        progress = self.database.run(archive.finish_deletion, key=key)
        if progress is not None:
            self.outcome.add(progress.counts)
        return progress is None or progress.is_over

    def _archive_and_remove_batch(self, key: int) -> BatchOutcome | None:
        """Archive a batch, and remove it once it can be read back from the file store."""
        try:
            for leftover in self.database.run(archive.list_unfinished_parts, thread_key=key):
                self._discard_part(*leftover)
            part = self.database.run(archive.draft, thread_key=key)
            if part is None:
                return self.database.run(archive.remove_remainder, thread_key=key)
            archive.write(self.files, part)
            progress = self.database.run(archive.remove_archived_batch, part=part)
            if progress is None:
                # Held, asked something, or erased meanwhile: no object may stay without a row.
                self._discard_part(part.key, part.sha256)
        except (FileNotStored, FileStoreUnavailable, DatabaseRefused, ValueError, TypeError, KeyError) as error:
            # Nothing was deleted; the next run begins this part anew, or discards it. Of a thread that cannot be read
            # nothing can be archived: that holds up no other.
            self.outcome.failed += 1
            self.store_failures += isinstance(error, FileStoreUnavailable)
            _log.warning("archive_failed", thread_key=key, reason=type(error).__name__)
            return None
        self.store_failures = 0
        self.outcome.archived += progress is not None
        return progress

    def _discard_part(self, archive_key: int, sha256: str) -> None:
        """Remove the object of a part that was begun, then its row."""
        if self.database.run(archive.discard, archive_key=archive_key):
            self.files.delete(ARCHIVES, sha256)
            self.database.run(archive.delete_part, archive_key=archive_key)


def run_retention(database: Database, settings: Settings, *, collects: bool = True) -> RetentionOutcome:
    """Delete what the policies say is past its time; with `collects`, then files that no message has.

    First of all it resumes the erasures that users asked for, and that broke off.
    """
    database.run(policies.mirror, settings=settings)
    run = _Run(database, settings, open_file_store(settings))
    try:
        run.resume_erasures()
        run.discard_leftovers()
        run.rescan_changed_policies()
        # What earlier runs have hidden is deleted before the cutoffs move and hide more.
        run.delete_hidden()
        run.move_cutoffs()
        run.delete_hidden()
    finally:
        run.files.close()
    if collects:
        run.outcome.blobs = collect_all(database, settings).blobs
    _log.info("retention_ran", **asdict(run.outcome))
    return run.outcome


def run_purge(database: Database, settings: Settings) -> int:
    """Delete turns, with their journals, and schedules that ended too long ago; returns how many turns."""
    if settings.turn_retention_days == 0:
        return 0
    until = time.monotonic() + RUN_SECONDS
    turns = 0
    cursor: purge.Cursor | None = purge.BEGINNING
    while cursor is not None and time.monotonic() < until:
        batch = database.run(purge.purge, days=settings.turn_retention_days, after=cursor)
        turns, cursor = turns + batch.turns, batch.next_cursor
    while database.run(purge_ended, days=settings.turn_retention_days) and time.monotonic() < until:
        pass
    _log.info("turns_purged", turns=turns)
    return turns
