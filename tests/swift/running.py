"""The S3 server of `server.py` as a child of this process, that can die and come back.

What stays true: port, secret and objects stay the same from one start to the next, so that a client of
the one is a client of the other.
"""

import os
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from threadmill.embedded.home import free_port
from threadmill.embedded.process import Process

#: The one user there is.
KEY = "threadmill:tester"


class Swift:
    """OpenStack Swift with its S3 API."""

    def __init__(self, folder: Path) -> None:
        """`folder` must keep extended attributes."""
        program = Path(__file__).parent / "server.py"
        self._port = free_port()
        self.endpoint = f"http://127.0.0.1:{self._port}"
        self.secret = uuid4().hex
        self._process = Process(
            "Swift",
            [
                *(sys.executable, "-W", "ignore::DeprecationWarning", str(program)),
                *("--directory", str(folder / "data"), "--port", str(self._port)),
            ],
            log=folder / "server.log",
            environment={**os.environ, "SWIFT_SECRET": self.secret},
        )

    def start(self) -> None:
        """Return when it answers."""
        self._process.start()
        self._process.wait_ready(self._is_healthy)

    def stop(self) -> None:
        self._process.stop()

    def kill(self) -> None:
        """End it by SIGKILL, in the middle of whatever it does."""
        self._process.kill()

    def _is_healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.endpoint}/healthcheck", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


@contextmanager
def running_swift(folder: Path) -> Iterator[Swift]:
    """One that keeps its objects in this folder, or in /var/tmp where that one cannot."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as spare:
        server = Swift(folder_with_attributes(folder, Path(spare)))
        server.start()
        try:
            yield server
        finally:
            server.stop()


def folder_with_attributes(*candidates: Path) -> Path:
    """The first folder whose file system keeps extended attributes, which not every tmpfs does."""
    for folder in candidates:
        try:
            os.setxattr(folder, "user.probe", b"1")
        except OSError:
            continue
        return folder
    raise OSError(f"none of {', '.join(map(str, candidates))} keeps extended attributes, as Swift needs")
