"""What a process does that is killed by SIGKILL at a stated moment."""

import os
import signal
from collections.abc import Mapping
from typing import Any

from sqlalchemy import event

from store.blobs import open_file_store
from store.database.engine import Database
from store.erasure.subject import Subject
from store.erasure.workflow import run_erasure
from store.settings import load
from tasks.jobs.retention import run_retention


def until_it_dies(url: str, folder: str, count: int, values: Mapping[str, Any], work: str) -> int:
    """Run `retention`, or the erasure of a user, up to that event; 0 counts them all, and lives."""
    settings = load(database_url=url, file_store_url=folder, blob_grace_days=0, **values)
    database = Database(settings)
    seen = 0

    def die(*_: Any) -> None:
        nonlocal seen
        seen += 1
        if seen == count:
            os.kill(os.getpid(), signal.SIGKILL)

    # Before and after each: between two statements, in the middle of one, and before a commit.
    event.listen(database.engine, "before_cursor_execute", die)
    event.listen(database.engine, "after_cursor_execute", die)
    event.listen(database.engine, "commit", die)
    if work == "retention":
        run_retention(database, settings)
    else:
        run_erasure(database, open_file_store(settings), Subject(tenant="default", user=work))
    return seen
