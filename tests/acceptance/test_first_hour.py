"""From nothing to a project of one's own, its first error and its reason: in this checkout, and in a clone of it."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.command_line import CHECKOUT, run
from tests.acceptance.first_hour import FirstHour


@pytest.mark.soak
@pytest.mark.timeout(240)
def test_a_project_of_ones_own(tmp_path: Path) -> None:
    made = run("new", "book-shop", folder=tmp_path)
    assert made.returncode == 0, made.stderr

    FirstHour([sys.executable, "-m", "threadmill"], tmp_path / "book-shop").tell()


@pytest.mark.endurance
@pytest.mark.timeout(900)
def test_from_a_clone(tmp_path: Path) -> None:
    clone = tmp_path / "threadmill"
    subprocess.run(["git", "clone", "--quiet", CHECKOUT, clone], check=True)
    for command in (["demo"], ["new", "DIR=../book-shop"]):
        subprocess.run(["make", *command], cwd=clone, check=True)
    project = tmp_path / "book-shop"
    subprocess.run([clone / ".venv" / "bin" / "python", "-m", "unittest"], cwd=project, check=True)

    FirstHour([str(clone / ".venv" / "bin" / "threadmill")], project, {"PYTHONPATH": ""}, signal.SIGKILL).tell()
