"""`threadmill gateway` in a process of its own."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]


@contextmanager
def running_gateway(environment: dict[str, str], *arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A gateway in a process of its own, and its address."""
    command = [sys.executable, "-m", "threadmill", "gateway", "--port", "0", *arguments]
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("gateway: http://127.0.0.1:"), line + process.communicate(timeout=10)[1]
        yield process, line.split()[1]
    finally:
        process.kill()
        process.communicate()
