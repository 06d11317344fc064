"""The private folder of one embedded server: its password, its port, its log, and its owner.

One living process owns a folder at a time: the lock is the kernel's, so that it is free again the
moment its owner dies. Nothing in here can be read by another user.
"""

import fcntl
import os
import secrets
import socket
import time
from pathlib import Path

from threadmill.embedded.errors import DirectoryInUse, ServerFailed

#: Below Linux's range for outgoing connections (32768 and up), which could take a port between two starts.
PORTS = range(15_000, 32_000)
#: The file whose lock the owner holds.
LOCK = "owner.lock"
#: Seconds for which a lock may be somebody's who only asks whether there is an owner.
ASK_SECONDS = 0.5


class Home:
    """A folder that is readable to its user alone."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory.absolute()
        self._lock: int | None = None

    @property
    def log(self) -> Path:
        return self.directory / "server.log"

    def own(self) -> None:
        """Take the folder, making it if absent. Raises `DirectoryInUse` while another owner lives."""
        if self._lock is not None:
            return
        self._create_directory()
        lock = os.open(self.directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if not _can_lock(lock):
            owner = os.pread(lock, 32, 0).decode().strip()
            os.close(lock)
            raise DirectoryInUse(f"{self.directory} is in use by process {owner or '(unknown)'}")
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        self._lock = lock

    def is_owned(self) -> bool:
        """Whether a living process owns the folder now."""
        try:
            with (self.directory / LOCK).open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def release(self) -> None:
        """Give the folder up. Does nothing for a folder that is not owned."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def load_secret(self, name: str = "password") -> str:
        """Load a random password, made at the first call, from its file of mode 0600."""
        path = self.directory / name
        if not path.exists():
            self.write_private(name, secrets.token_urlsafe(24))
        return path.read_text().strip()

    def write_private(self, name: str, text: str) -> Path:
        """Replace a file as a whole; it is never readable to others, not even while it is written."""
        self._create_directory()
        path, temporary_path = self.directory / name, self.directory / f".{name}.new"
        temporary_path.unlink(missing_ok=True)
        descriptor = os.open(temporary_path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        temporary_path.replace(path)
        return path

    def read_private(self, name: str) -> str | None:
        """Read a file that `write_private` wrote; None where there is none that is ours alone."""
        try:
            with (self.directory / name).open() as file:
                state = os.fstat(file.fileno())
                return file.read() if state.st_uid == os.geteuid() and not state.st_mode & 0o077 else None
        except OSError:
            return None

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        (self.directory / name).unlink(missing_ok=True)

    def choose_port(self, requested_port: int | None = None) -> int:
        """Choose the port to listen on: the requested one, else the last one if that is free, else any."""
        if requested_port is not None:
            if not is_free(requested_port):
                raise ServerFailed(f"port {requested_port} of 127.0.0.1 is taken; ask for another, or for none")
            return requested_port
        previous_port = self.last_port()
        if previous_port and is_free(previous_port):
            return previous_port
        port = free_port()
        self.write_private("port", f"{port}\n")
        return port

    def last_port(self) -> int:
        """The port that was chosen last; 0 before the first choice."""
        path = self.directory / "port"
        text = path.read_text().strip() if path.exists() else ""
        return int(text) if text.isdecimal() else 0

    def _create_directory(self) -> None:
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)


def _can_lock(lock: int) -> bool:
    """Take the lock of an open file, waiting for those that only ask for the owner; False while there is one."""
    deadline = time.monotonic() + ASK_SECONDS
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(ASK_SECONDS / 10)
        else:
            return True


def is_free(port: int) -> bool:
    """Whether a server could listen on this port of 127.0.0.1 now."""
    with socket.socket() as probe:
        # As the servers do: connections that ended a moment ago do not hold the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen()  # a server that listens with SO_REUSEADDR is noticed only here on some systems
        except OSError:
            return False
    return True


def free_port() -> int:
    """A port without a listener at this moment, chosen at random so that two seekers rarely meet."""
    for _ in range(200):
        port = secrets.choice(PORTS)
        if is_free(port):
            return port
    raise ServerFailed(f"no free port found between {PORTS.start} and {PORTS.stop}")
