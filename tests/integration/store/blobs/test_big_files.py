"""A large file takes little memory on its way, measured in processes of its own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.stage import ROOT

#: MiB: two parts and what belongs to them. The file itself would be 64.
BOUND = 48.0


@pytest.mark.endurance
def test_a_file_is_never_held_in_memory_as_a_whole(tmp_path: Path) -> None:
    result = tmp_path / "files.json"
    command = [sys.executable, "-m", "benchmarks.part", "files", str(result), "--quick"]

    done = subprocess.run(command, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")
    mib = {figure["key"]: figure["value"] for figure in json.loads(result.read_text())["figures"]}
    own = [f"{store}_{way}_memory" for store in ("s3", "local") for way in ("upload", "download")]
    assert max(mib[key] for key in own) < BOUND, mib
