"""One child process that runs in the foreground and does not outlive its owner.

Whatever ends the owner, SIGKILL included, ends the child (on Linux; see `tether`). Every child is
forked by one thread that lives as long as the process: Linux counts the death of the forking
*thread* as the parent's death, and a caller's thread may end early.
"""

import functools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from threadmill.embedded import tether
from threadmill.embedded.errors import ServerFailed
from threadmill.embedded.log_file import rotate
from threadmill.embedded.log_reader import parse_line

#: Seconds between two polls of a program that is starting or stopping.
POLL_SECONDS = 0.02
#: Lines of the log that an error quotes.
QUOTED_LINES = 15


class Process:
    """A named program with a log file, that can be started again after it ended."""

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        *,
        log: Path,
        environment: Mapping[str, str] | None = None,
        directory: Path | None = None,
        death_signal: signal.Signals = signal.SIGKILL,
    ) -> None:
        """`environment` replaces the owner's; `death_signal` is what the child gets when the owner dies."""
        self.name = name
        self.argv = list(argv)
        self.log = log
        self._environment = None if environment is None else dict(environment)
        self._directory = directory
        self._death_signal = death_signal
        self._child: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    @property
    def pid(self) -> int | None:
        """The number of the running process; None while none runs."""
        return self._child.pid if self._child is not None and self.is_running else None

    @property
    def is_running(self) -> bool:
        """Whether the program lives at this moment."""
        return self._child is not None and self.exit_code is None

    @property
    def exit_code(self) -> int | None:
        """The exit code of the last run (negative: the signal); None before its end.

        What a dead program left behind in its process group is killed when its death is noticed.
        """
        if self._child is None:
            return None
        if self._child.returncode is None and self._child.poll() is not None:
            _signal_group(self._child.pid, signal.SIGKILL)
        return self._child.returncode

    def start(self) -> None:
        """Start the program. It may not be ready yet: see `wait_ready`."""
        if self.is_running:
            raise ServerFailed(f"{self.name} runs already, as process {self.pid}")
        self.log.parent.mkdir(parents=True, exist_ok=True)
        rotate(self.log)
        fork_future = _launcher(os.getpid()).submit(self._fork)
        try:
            self._child = fork_future.result()
        except KeyboardInterrupt:
            # It came while we waited: whoever stops us now has to know of the child.
            self._child = fork_future.result()
            raise

    def wait_ready(self, check: Callable[[], bool], timeout_seconds: float = 30) -> None:
        """Return when `check` holds; a program that ends or takes too long is stopped: `ServerFailed`."""
        deadline = time.monotonic() + timeout_seconds
        while not check():
            if not self.is_running:
                raise self.failure(f"ended with exit code {self.exit_code} before it was ready")
            if time.monotonic() > deadline:
                self.kill()
                raise self.failure(f"was not ready after {timeout_seconds:g} seconds")
            time.sleep(POLL_SECONDS)

    def request_stop(self, stop_signal: signal.Signals = signal.SIGTERM) -> None:
        """Send a signal and return at once. Does nothing when none runs."""
        if self._child is not None and self.is_running:
            self._child.send_signal(stop_signal)

    def join(self, timeout_seconds: float) -> None:
        """Wait for the end of the program, and kill it if it takes longer."""
        deadline = time.monotonic() + timeout_seconds
        while self.is_running:
            if time.monotonic() > deadline:
                self.kill()
                return
            time.sleep(POLL_SECONDS)

    def stop(self, stop_signal: signal.Signals = signal.SIGTERM, timeout_seconds: float = 10) -> None:
        """Ask the program to end, and kill it if it takes longer. Does nothing when none runs."""
        self.request_stop(stop_signal)
        self.join(timeout_seconds)

    def kill(self) -> None:
        """End the program and its process group at once, as a crash would."""
        if self._child is None or not self.is_running:
            return
        _signal_group(self._child.pid, signal.SIGKILL)
        self._child.wait()

    def log_tail(self, lines: int = QUOTED_LINES) -> str:
        """The end of what the last run wrote to its log, for people."""
        tail = self._output().strip().splitlines()[-lines:]
        return "\n".join(parse_line(self.name, line, "").text() for line in tail)

    def rotate_log(self) -> None:
        """Set the log aside if it has grown too long."""
        if rotate(self.log):
            self._log_start = 0

    def has_logged(self, text: str) -> bool:
        """Whether the last run wrote this to its log."""
        return text in self._output()

    def failure(self, problem: str) -> ServerFailed:
        """The error that names the problem of this program and quotes the end of its log."""
        tail = self.log_tail() or "(nothing)"
        quoted_tail = "\n".join(f"    {line}" for line in tail.splitlines())
        return ServerFailed(f"{self.name} {problem}. The end of {self.log}:\n{quoted_tail}")

    def _output(self) -> str:
        if not self.log.exists():
            return ""
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode(errors="replace")

    def _fork(self) -> subprocess.Popen[bytes]:
        tether_command = [sys.executable, "-I", "-S", tether.__file__, str(os.getpid()), str(int(self._death_signal))]
        with self.log.open("ab") as log:
            self._log_start = log.tell()
            return subprocess.Popen(
                [*tether_command, *self.argv],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment,
                cwd=self._directory,
                # A Ctrl-C at the terminal reaches the owner only, who stops its children in order.
                start_new_session=True,
            )


@functools.cache
def _launcher(pid: int) -> ThreadPoolExecutor:
    """The one thread of this process that forks children; a forked copy of the owner gets its own."""
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"launcher-{pid}")


def _signal_group(group: int, number: signal.Signals) -> None:
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):  # macOS answers EPERM for a group of zombies
        return
