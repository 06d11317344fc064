"""The files by which workers show that they answer, as the health check reads them from another process."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.alive_file import AliveFile

ROOT = Path(__file__).parents[3]
#: A worker that forks, dies, and leaves its child behind.
FORKS_AND_DIES = """
import os, sys, time
from tasks.alive_file import AliveFile
AliveFile("dead", queues=["files"], fresh_seconds=60).create()
if os.fork() == 0:
    sys.stdin.read()
os._exit(0)
"""


def run_python(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "THREADMILL_RUNTIME_DIR": str(folder)}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=60)


def check(folder: Path, *options: str) -> tuple[int, str]:
    ended = run_python(folder, "-m", "threadmill.healthcheck", *options)
    return ended.returncode, ended.stdout + ended.stderr


@pytest.fixture
def two_workers(tmp_path: Path) -> Iterator[Path]:
    """The folder of two workers, `one` and `two`; `two` is silent for a minute."""
    files = [AliveFile(name, queues=["turns"], fresh_seconds=30, folder=str(tmp_path)) for name in ("one", "two")]
    for file in files:
        file.create()
    long_ago = time.time() - 60
    os.utime(tmp_path / "two.worker", (long_ago, long_ago))
    yield tmp_path
    for file in files:
        file.remove()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        # PID stands for this process's: each process of the tests has to name them alike.
        ([], 1, "worker two (process PID, turns) has not answered for 6"),
        (["--id", "one"], 0, "answering: turns (process PID)"),
        (["--id", "two"], 1, "worker two"),
        (["--pid", "PID"], 1, "worker two"),
        (["--pid", "1"], 1, "no worker's process is here"),
    ],
)
def test_each_worker_of_a_machine_is_told_from_the_others(
    two_workers: Path, options: list[str], status: int, words: str
) -> None:
    ended_with, printed = check(two_workers, *(option.replace("PID", str(os.getpid())) for option in options))

    assert (ended_with, words.replace("PID", str(os.getpid())) in printed, printed.count("\n")) == (status, True, 1), (
        printed
    )


def test_a_worker_that_was_killed_is_gone_though_a_child_of_its_lives(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FORKS_AND_DIES]
    environment = {**os.environ, "THREADMILL_RUNTIME_DIR": str(tmp_path)}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdin=subprocess.PIPE) as worker:
        assert worker.wait(60) == 0
        assert (tmp_path / "dead.worker").exists()

        assert check(tmp_path) == (1, f"threadmill: no worker's process is here: {tmp_path} names none that lives\n")

        assert list(tmp_path.iterdir()) == []


def test_nothing_but_the_standard_library_is_imported(tmp_path: Path) -> None:
    program = "import sys; from threadmill.healthcheck import main; main([]); print(*sys.modules)"
    bare = run_python(tmp_path, "-c", "import sys; print(*sys.modules)").stdout.split()

    loaded = run_python(tmp_path, "-c", program).stdout.split()

    of_others = {name.partition(".")[0] for name in set(loaded) - set(bare)} - sys.stdlib_module_names
    assert of_others == {"tasks", "threadmill", "threadmill_packages"}
    assert {name for name in loaded if name.startswith(("tasks", "threadmill."))} == {
        "tasks", "tasks.alive_file", "threadmill.healthcheck",
    }  # fmt: skip


def test_a_file_says_whose_it_is_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    file = AliveFile("one", queues=["turns", "maintenance"], fresh_seconds=15, folder=str(folder))
    file.create()

    content = json.loads((folder / "one.worker").read_text())

    assert content == {"worker": "one", "pid": os.getpid(), "queues": ["maintenance", "turns"], "fresh_seconds": 15}
    assert ((folder / "one.worker").stat().st_mode & 0o777, folder.stat().st_mode & 0o777) == (0o600, 0o700)
    file.remove()
