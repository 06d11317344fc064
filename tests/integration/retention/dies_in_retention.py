"""A process that is killed by SIGKILL after so many statements: URL FOLDER COUNT SETTINGS WORK."""

import json
import os
import signal
import sys
from typing import Any

from sqlalchemy import event

from store.engine import Database
from store.erasure.run import run_erasure
from store.erasure.subject import Subject
from store.files import open_file_store
from store.settings import load
from tasks.retention import run_retention


def main(url: str, folder: str, count: str, values: str, work: str) -> None:
    """Run it, up to that statement; 0 counts none, and prints how many there were."""
    settings = load(database_url=url, file_store=folder, blob_grace_days=0, **json.loads(values))
    database = Database(settings)
    seen = 0

    def die(*_: Any) -> None:
        nonlocal seen
        seen += 1
        if seen == int(count):
            os.kill(os.getpid(), signal.SIGKILL)

    # Before and after each: between two statements, in the middle of one, and before a commit.
    event.listen(database.engine, "before_cursor_execute", die)
    event.listen(database.engine, "after_cursor_execute", die)
    event.listen(database.engine, "commit", die)
    if work == "retention":
        run_retention(database, settings)
    else:
        run_erasure(database, open_file_store(settings), Subject(tenant="default", user=work))
    print(seen)  # noqa: T201 - the test reads it


if __name__ == "__main__":
    main(*sys.argv[1:])
