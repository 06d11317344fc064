"""The file by which a worker's process shows whoever looks after it that it is alive and answers.

What stays true: the standard library is enough to read it, so that a health check costs a start of Python and no
more; a file counts while its process holds the file's lock, which the system takes back however the process ends,
so that a worker that was killed, and another process that got its number, are told from a worker that hangs.
"""

import fcntl
import json
import os
import tempfile
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

#: The folder of the files, for processes that shall not share the user's.
VARIABLE = "THREADMILL_RUNTIME_DIR"
_SUFFIX = ".worker"


class AliveFile:
    """The file of this process."""

    def __init__(self, worker: str, *, queues: Collection[str], fresh_seconds: float, folder: str = "") -> None:
        """`fresh_seconds` after a touch, the process counts as one that hangs; `folder` is the setting's."""
        self._folder = runtime_folder(folder)
        self._worker = worker
        self._queues = sorted(queues)
        self._fresh_seconds = fresh_seconds
        self._path: Path | None = None
        self._file: int | None = None

    def create(self) -> None:
        """Create the file, and hold its lock until `remove` or the end of the process. Raises `OSError`."""
        content = {
            "worker": self._worker,
            "pid": os.getpid(),
            "queues": self._queues,
            "fresh_seconds": self._fresh_seconds,
        }
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_owner(self._folder)
        unlocked_path = self._folder / f"{self._worker}.new"
        self._file = os.open(unlocked_path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        # A record lock: a child that this process forks does not hold it, too.
        fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.write(self._file, json.dumps(content).encode())
        # Nobody finds it without its lock, and takes it for that of a worker that was killed.
        self._path = unlocked_path.rename(self._folder / f"{self._worker}{_SUFFIX}")

    def touch(self) -> None:
        """Say that the process answers now."""
        if self._path is not None:
            with suppress(OSError):
                os.utime(self._path)

    def remove(self) -> None:
        """Remove the file: the process ends in good order."""
        if self._path is not None and self._file is not None:
            self._path.unlink(missing_ok=True)
            os.close(self._file)
            self._path = self._file = None


@dataclass(frozen=True, slots=True)
class AliveWorker:
    """A worker whose process is there."""

    id: str
    pid: int
    queues: tuple[str, ...]
    #: Seconds since it answered last.
    silent_seconds: float
    #: It answered lately.
    answers: bool


def list_alive_workers() -> list[AliveWorker]:
    """The workers of this user on this machine, or in this container. Raises `OSError`."""
    folder = runtime_folder()
    if not folder.exists():
        return []
    _check_owner(folder)
    return sorted(_read_files(folder), key=lambda worker: worker.pid)


def runtime_folder(folder: str = "") -> Path:
    """The folder of the files: this one, that of the variable, or else one for each user."""
    named = folder or os.environ.get(VARIABLE, "").strip()
    return Path(named) if named else Path(tempfile.gettempdir()) / f"threadmill-{os.getuid()}"


def _check_owner(folder: Path) -> None:
    """Refuse a folder that somebody else made where everybody may: its files say what they like."""
    if folder.stat().st_uid not in (os.getuid(), 0):
        raise PermissionError(f"{folder} is another user's; name a folder of this user's in {VARIABLE}")


def _read_files(folder: Path) -> Iterator[AliveWorker]:
    for path in folder.glob(f"*{_SUFFIX}"):
        # A worker may remove its own meanwhile.
        with suppress(FileNotFoundError, ValueError, KeyError):
            worker = _read_file(path)
            if worker is not None:
                yield worker


def _read_file(path: Path) -> AliveWorker | None:
    with path.open("r+b") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            content = json.loads(file.read())
            silent_seconds = max(0.0, time.time() - os.fstat(file.fileno()).st_mtime)
        else:
            # Its process is gone, and could not remove it.
            path.unlink(missing_ok=True)
            return None
    return AliveWorker(
        content["worker"],
        content["pid"],
        tuple(content["queues"]),
        silent_seconds,
        answers=silent_seconds <= content["fresh_seconds"],
    )
