"""The common part of our servers: a folder, a port, a program that answers, and an owner.

Starting is all or nothing: a start that fails leaves no process and no lock behind. Starting again
in the same folder finds the same data, the same password and, if it is free, the same port.
"""

import signal
import time
from pathlib import Path
from typing import ClassVar, Self

from threadmill.embedded.errors import ServerFailed
from threadmill.embedded.home import Home
from threadmill.embedded.process import Process

#: What a server says when a second start may succeed: another program took the port between our probe and
#: the server's, or PostgreSQL's children have not noticed yet that their parent was killed.
TRANSIENT_ERRORS = ("Address already in use", "shared memory block")
#: Starts that are tried for such reasons, and seconds between them.
ATTEMPTS, ATTEMPT_SECONDS = 10, 0.3


class Server:
    """One server on a loopback port, in a folder that it owns while it runs."""

    stop_signal: ClassVar[signal.Signals]
    #: Seconds, recovery after a crash included.
    start_seconds: ClassVar[float]
    #: Seconds, writing everything to disk included; then it is killed.
    stop_seconds: ClassVar[float]

    def __init__(self, directory: Path, *, port: int | None = None) -> None:
        """Nothing is started. Without `port` a free one is chosen, and kept for the next start."""
        self._home = Home(directory)
        self._requested_port = port
        self._port = 0
        self._process: Process | None = None

    @property
    def url(self) -> str:
        """Where the server is, password included."""
        raise NotImplementedError

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.is_running

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    @property
    def log(self) -> Path:
        return self._home.log

    def log_tail(self) -> str:
        """The end of what the server wrote to its log since it started last."""
        return "" if self._process is None else self._process.log_tail()

    def rotate_log(self) -> None:
        """Set the log aside if it has grown too long."""
        if self._process is not None:
            self._process.rotate_log()

    def start(self) -> Self:
        """Start the server and return when it answers. Raises `ServerFailed` or `DirectoryInUse`."""
        self._home.own()
        try:
            self._prepare()
            self._serve()
            self._finish()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Stop the server, everything that it accepted on disk. Safe to repeat."""
        if self._process is not None:
            self._process.stop(self.stop_signal, self.stop_seconds)
        self._home.release()

    def restart(self) -> None:
        """Stop the server if it runs, and start it on the port where its clients look for it."""
        self.stop()
        self._requested_port = self._port or self._requested_port
        self.start()

    def kill(self) -> None:
        """End the server as a crash would; `start` recovers it."""
        if self._process is not None:
            self._process.kill()
        self._home.release()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _prepare(self) -> None:
        """Do what is needed before the program can run."""

    def _build_process(self) -> Process:
        """The server on the chosen port, not started."""
        raise NotImplementedError

    def _is_answering(self) -> bool:
        """Whether a client can work with the server now."""
        raise NotImplementedError

    def _finish(self) -> None:
        """Do what is needed once, when the server answers."""

    def _serve(self) -> None:
        for attempt in range(ATTEMPTS):
            self._port = self._home.choose_port(self._requested_port)
            self._process = self._build_process()
            self._process.start()
            try:
                self._process.wait_ready(self._is_answering, self.start_seconds)
            except ServerFailed as error:
                if attempt + 1 == ATTEMPTS or not any(reason in str(error) for reason in TRANSIENT_ERRORS):
                    raise
                time.sleep(ATTEMPT_SECONDS)
            else:
                return
