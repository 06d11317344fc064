"""A large file takes little memory on its way, measured in processes of its own."""

import re
import subprocess
import sys

import pytest

from benchmarks.stage import ROOT

#: MiB: two parts and what belongs to them. The file itself would be 64.
BOUND = 48.0


@pytest.mark.endurance
def test_a_file_is_never_held_in_memory_as_a_whole() -> None:
    command = [sys.executable, "benchmarks/bench_big_files.py", "--quick"]

    done = subprocess.run(command, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")
    took = re.findall(r"through (\w+), 64 MiB .*\n *additional memory +([\d.e-]+) MiB", done.stdout)
    assert [store for store, _ in took] == ["S3Blobs", "S3Blobs", "LocalBlobs", "LocalBlobs"]
    assert max(float(mib) for _, mib in took) < BOUND, done.stdout
