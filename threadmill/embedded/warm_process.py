"""A program of Celery's or of ours, forked from a process that has imported its libraries already.

From nothing, a worker takes three seconds of processor time until it works, nearly all of them imports. What stays
true: the child sees the arguments, the environment and the folder that it is given, and no settings or agents of
anybody else's; it does not outlive its owner (on Linux), as the process that it is forked from does not.
"""

import atexit
import ctypes
import functools
import multiprocessing
import os
import runpy
import signal
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

from store import settings
from tasks.celery_app import forget_foreign_variables
from threadmill.embedded.process import Process
from threadmill.embedded.tether import SET_PARENT_DEATH_SIGNAL


class WarmProcess(Process):
    """A `Process` whose program is `python -m celery …` or `python -m threadmill …`, started warm."""

    def _fork(self) -> Any:
        assert self.argv[0:2] == [sys.executable, "-m"], self.argv
        self.log.touch()
        self._log_start = self.log.stat().st_size
        child = _context().Process(
            target=_run_module, args=(self.argv[2:], self._environment or dict(os.environ), self._directory, self.log)
        )
        child.start()
        return _Child(child)


class _Child:
    """A forked child behind the verbs of `subprocess.Popen` that `Process` uses."""

    def __init__(self, process: Any) -> None:
        self._process = process
        self.pid: int = process.pid

    @property
    def returncode(self) -> int | None:
        """How the child ended; None while it runs."""
        code: int | None = self._process.exitcode
        return code

    def poll(self) -> int | None:
        """How the child ended; None while it runs."""
        return self.returncode

    def wait(self) -> int | None:
        """Wait for the child's end."""
        self._process.join()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send the child a signal."""
        os.kill(self.pid, number)


@functools.cache
def _context() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["threadmill.embedded.preload"])
    return context


def _run_module(arguments: Sequence[str], environment: Mapping[str, str], directory: Path | None, log: Path) -> None:
    """Become the program: everything of a process that is not its memory is set anew."""
    assert settings.current.cache_info().currsize == 0, "a preloaded module has read the settings"
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    os.setsid()
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.environ.clear()
    os.environ.update(environment)
    forget_foreign_variables()
    sys.dont_write_bytecode = bool(environment.get("PYTHONDONTWRITEBYTECODE"))
    os.chdir(directory or Path.cwd())
    # As `python -m` does.
    sys.path[:0] = [str(Path.cwd()), *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))]
    sys.argv = list(arguments)
    try:
        runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
    finally:
        atexit._run_exitfuncs()  # noqa: SLF001 - a child of multiprocessing would skip them
