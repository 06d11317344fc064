"""The `threadmill` command, run in this process: what it prints, what it reads, how it ends.

A process of its own takes a second, nearly all of it imports. What stays true: the command sees the folder,
the environment and the input that it is given, and nothing of the test's. That it is the same as a process,
tests/acceptance/test_cli.py holds.
"""

import io
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import structlog

from store import settings
from threadmill.cli import main


def run_command(
    *arguments: str, folder: Path, environment: Mapping[str, str], stdin: str = "", stdout: io.StringIO | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `threadmill` with these arguments; an error that it does not handle is the caller's."""
    output, errors = stdout or io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as process:
        for name in os.environ:
            process.delenv(name)
        for name, value in environment.items():
            process.setenv(name, value)
        # What the command sets is gone with it, too.
        process.setattr(os, "environ", os.environ.copy())
        process.chdir(folder)
        process.setattr(sys, "argv", ["threadmill", *arguments])
        process.setattr(sys, "stdin", io.StringIO(stdin))
        process.setattr(sys, "stdout", output)
        process.setattr(sys, "stderr", errors)
        settings.current.cache_clear()
        # Another test of this process may have set logging up as a worker does.
        logging_of_test = structlog.get_config() if structlog.is_configured() else None
        structlog.reset_defaults()
        try:
            main()
        except SystemExit as end:
            status = int(end.code or 0)
        else:
            status = 0
        finally:
            settings.current.cache_clear()
            structlog.reset_defaults()
            if logging_of_test is not None:
                structlog.configure(**logging_of_test)
    return subprocess.CompletedProcess(["threadmill", *arguments], status, output.getvalue(), errors.getvalue())
