"""A folder in memory for the tests' PostgreSQL, on machines that have room for it.

A test has a database of its own: a copy of several hundred files, which takes ten times as long on a
disk. What stays true: what a test run that was killed has left there is removed by the next one.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: Where Linux keeps files in memory.
MEMORY = Path("/dev/shm")
#: Bytes that must be free there: several servers, each with its log of writes.
ROOM = 8 * 1024**3
_PREFIX = "threadmill-tests-"


@contextmanager
def memory_folder(on_disk: Path) -> Iterator[Path]:
    """A folder in memory, removed at the end; `on_disk` where there is no room for it."""
    if not MEMORY.is_dir() or shutil.disk_usage(MEMORY).free < ROOM:
        yield on_disk
        return
    _remove_left_behind()
    with tempfile.TemporaryDirectory(prefix=f"{_PREFIX}{os.getpid()}-", dir=MEMORY) as folder:
        yield Path(folder)


def _remove_left_behind() -> None:
    for folder in MEMORY.glob(f"{_PREFIX}*"):
        pid = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if not Path("/proc", pid).exists():
            shutil.rmtree(folder, ignore_errors=True)
