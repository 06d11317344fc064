"""The `threadmill` command as a person starts it, in a folder of the test's own, and what it leaves."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]


def environment(folder: Path, **variables: str) -> dict[str, str]:
    """Variables that tie whatever is started to `folder`: temporary files go there as well."""
    return os.environ | {"PYTHONPATH": str(CHECKOUT), "TMPDIR": str(folder)} | variables


def run(*arguments: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "threadmill", *arguments],
        cwd=folder,
        env=environment(folder, **variables),
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )


@contextmanager
def started(*arguments: str, folder: Path, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """A command that goes on; it is killed with the block if it still does."""
    with subprocess.Popen(
        [sys.executable, "-m", "threadmill", *arguments],
        cwd=folder,
        env=environment(folder, **variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as command:
        try:
            yield command
        finally:
            command.kill()


def read_until(command: subprocess.Popen[str], text: str) -> str:
    """What a command prints, up to the line that holds `text`, or all of it."""
    assert command.stdout is not None
    lines = []
    for line in command.stdout:
        lines.append(line)
        if text in line:
            break
    return "".join(lines)


def processes_of(folder: Path) -> dict[int, str]:
    """Every living process that was started for this folder, by its number: known by what it was handed."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_text(errors="replace").replace("\0", " ")
            variables = (process / "environ").read_text(errors="replace")
            place = str((process / "cwd").readlink())
        except OSError:
            continue
        if str(folder) in f"{command} {variables} {place}":
            found[int(process.name)] = command
    return found
