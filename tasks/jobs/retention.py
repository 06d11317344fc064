"""Retention and the purge of old turns, as plain functions that a task, a command or a test can call.

What stays true: everything is done in short transactions, and found again by the next run; a thread
that cannot be archived keeps its messages and stops no other.
"""

import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from functools import partial

import structlog

from conversation.errors import FileNotStored, FileStoreUnavailable
from store.blobs import BlobStore, open_file_store
from store.database.engine import Database
from store.retention import archive, deletion, due, move_cut, policies, purge
from store.retention.deletion import Counts, Removed
from store.settings import Settings
from store.tables.retention import ARCHIVES
from tasks.jobs.collect_files import collect_all
from tasks.jobs.resume_erasures import resume_erasures

#: Seconds of one run: what is left is taken up by the next.
RUN_SECONDS = 300.0
#: Threads that may wait in vain for the file store before it counts as away.
UNANSWERED_MAX = 3
#: Parts of archives that one run clears up, at most.
LEFT_BEHIND = 1000

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Deleted:
    """What a run of retention came to."""

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
    deleted: Deleted = field(default_factory=Deleted)
    until: float = field(default_factory=lambda: time.monotonic() + RUN_SECONDS)
    #: Threads in a row for which the file store gave no answer.
    unanswered: int = 0

    def is_over(self) -> bool:
        return time.monotonic() >= self.until

    def resume_erasures(self) -> None:
        """Persons have asked for these: they come first, and in a time of their own."""
        resumed = resume_erasures(self.database, self.files)
        self.deleted.erased = resumed.finished
        self.deleted.erasures_held, self.deleted.erasures_left = resumed.held, resumed.left
        self.until = time.monotonic() + RUN_SECONDS

    def clear_up(self) -> None:
        """Remove what runs that died have left in the file store, whatever became of their threads."""
        for begun in self.database.run(partial(archive.left_behind, limit=LEFT_BEHIND)):
            try:
                self._discard(*begun)
            except FileStoreUnavailable as error:
                self.deleted.failed += 1
                _log.warning("archive_not_discarded", archive=begun[0], reason=type(error).__name__)
                break

    def look_again(self) -> None:
        """Where a policy changed, what was seen under the old one counts no more."""
        while not self.is_over() and self.database.run(policies.look_again):
            pass

    def move_cuts(self) -> None:
        """Before anything of a thread is deleted, nobody reads it any more."""
        came_to: dict[int, str] = {}
        for key in due.due(self.database):
            if self.is_over():
                break
            came_to[key] = self.database.run(partial(move_cut.move, key=key)).came_to
        seen = Counter(came_to.values())
        self.deleted.held, self.deleted.busy = seen["held"], seen["busy"]

    def delete(self) -> None:
        """Then that goes, batch by batch, and the thread's row at last."""
        for row in due.pending(self.database):
            if self.is_over():
                break
            if row.archive and self.unanswered >= UNANSWERED_MAX:
                # It is away: what is to be archived waits for the next run.
                continue
            take = self._take_archived if row.archive else self._take
            while not self.is_over() and (removed := take(row.key)) is not None:
                self.deleted.add(removed.counts)
                if removed.is_over and self._take_thread(row.key):
                    break

    def _take(self, key: int) -> Removed | None:
        return self.database.run(partial(deletion.remove_next, key=key))

    def _take_thread(self, key: int) -> bool:
        """Whether the thread is done with: its row is deleted, or stays."""
        remove = partial(archive.end_cut, user_key=self.settings.user_metadata_key)
        removed = self.database.run(partial(remove, key=key))
        if removed is not None:
            self.deleted.add(removed.counts)
        return removed is None or removed.is_over

    def _take_archived(self, key: int) -> Removed | None:
        """As `_take`, once it can be read back from the file store."""
        try:
            for begun in self.database.run(partial(archive.unfinished, thread_key=key)):
                self._discard(*begun)
            part = self.database.run(
                partial(archive.draft, thread_key=key, user_key=self.settings.user_metadata_key)
            )
            if part is None:
                return self.database.run(partial(archive.remove_rest, thread_key=key))
            archive.write(self.files, part)
            removed = self.database.run(partial(archive.remove_archived, part=part))
            if removed is None:
                # Held, asked something, or erased meanwhile: nothing may stay that nobody has to find.
                self._discard(part.key, part.sha256)
        except (FileNotStored, FileStoreUnavailable) as error:
            # Nothing was deleted; the next run begins this part anew, or clears it up.
            self.deleted.failed += 1
            self.unanswered += isinstance(error, FileStoreUnavailable)
            _log.warning("archive_failed", thread_key=key, reason=type(error).__name__)
            return None
        self.unanswered = 0
        self.deleted.archived += removed is not None
        return removed

    def _discard(self, archive_key: int, sha256: str) -> None:
        """Remove the object of a part that was begun, then its row."""
        if self.database.run(partial(archive.discard, archive_key=archive_key)):
            self.files.delete(ARCHIVES, sha256)
            self.database.run(partial(archive.forget, archive_key=archive_key))


def run_retention(database: Database, settings: Settings, *, collects: bool = True) -> Deleted:
    """Delete what the policies say is past its time; with `collects`, then files that nobody has.

    First of all what persons asked for, and what broke off.
    """
    database.run(partial(policies.mirror, settings=settings))
    run = _Run(database, settings, open_file_store(settings))
    try:
        run.resume_erasures()
        run.clear_up()
        run.look_again()
        # What was hidden longest goes first: what only its time hides from now on can wait for it.
        run.delete()
        run.move_cuts()
        run.delete()
    finally:
        run.files.close()
    if collects:
        run.deleted.blobs = collect_all(database, settings).blobs
    _log.info("retention_ran", **asdict(run.deleted))
    return run.deleted


def run_purge(database: Database, settings: Settings) -> int:
    """Delete turns, with their journals, that ended too long ago; returns how many."""
    if settings.purge_turns_days == 0:
        return 0
    until = time.monotonic() + RUN_SECONDS
    turns = 0
    place: purge.Place | None = purge.BEGINNING
    while place is not None and time.monotonic() < until:
        purged = database.run(partial(purge.purge, days=settings.purge_turns_days, after=place))
        turns, place = turns + purged.turns, purged.next_place
    _log.info("turns_purged", turns=turns)
    return turns
