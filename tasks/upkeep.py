"""Retention, as plain functions that a task, a command or a test can call."""

from dataclasses import asdict, dataclass
from functools import partial

import structlog

from store import retention
from store.engine import Database
from store.settings import Settings
from tasks.blob_gc import collect_all

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Deleted:
    """What a run of retention came to."""

    threads: int = 0
    blobs: int = 0


def run_retention(database: Database, settings: Settings, *, days: float | None = None) -> Deleted:
    """Delete old threads, then blobs that nobody has any more. `days` stands in for the setting's."""
    days = settings.retention_days if days is None else days
    threads = 0
    while days > 0 and (gone := database.run(partial(retention.delete_old_threads, days=days))):
        threads += gone
    deleted = Deleted(threads, collect_all(database, settings).blobs)
    _log.info("retention_ran", **asdict(deleted))
    return deleted
