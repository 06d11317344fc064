"""A large file into the file store and out again, against boto3 by itself: time, and memory.

Each transfer has an interpreter of its own. Its memory is the most that it ever held, beyond what it
held when all was imported and connected. The server is Swift, in one process on the same machine.
"""

import gc
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import Figure, Measures, at_most
from benchmarks.stage import ROOT
from store.blobs import LocalBlobs, S3Blobs, S3Options
from tests.conftest import S3
from tests.swift.running import KEY, running_swift

MIB = 1024 * 1024
#: MiB that a transfer may take beyond what the process had, whatever the file's size.
EXTRA_MIB_MAX = 100
BUCKET = "big-files"


@dataclass(frozen=True)
class Transfer:
    """The transfer that one interpreter does."""

    endpoint: str
    secret: str
    source: str
    target: str
    sha256: str

    def blobs(self) -> S3Blobs:
        return S3Blobs(BUCKET, options=S3Options(self.endpoint, KEY, self.secret, read_timeout_seconds=60))

    def folder(self) -> LocalBlobs:
        return LocalBlobs(Path(self.target).parent / "blobs")

    def put(self, store: S3Blobs | LocalBlobs) -> None:
        with Path(self.source).open("rb") as file:
            store.put("acme", self.sha256, file, "application/octet-stream")

    def read(self, store: S3Blobs | LocalBlobs) -> None:
        with store.open("acme", self.sha256) as pieces, Path(self.target).open("wb") as file:
            file.writelines(pieces)


def measure(*, quick: bool) -> Measures:
    """Send and fetch, alternately through boto3 and through us; then the same in a folder."""
    mib = 64 if quick else 256
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder, running_swift(Path(folder)) as server:
        S3(server.endpoint, KEY, server.secret).client().create_bucket(Bucket=BUCKET)
        source, target = Path(folder) / "source", Path(folder) / "target"
        transfer = Transfer(server.endpoint, server.secret, str(source), str(target), _write(source, mib))
        lines: list[Figure] = []
        for way in ("upload", "download"):
            base = _figures(f"boto3_{way}", f"boto3's {way}_file, {mib} MiB", _run_transfer(transfer, f"plain_{way}"))
            ours = _run_transfer(transfer, f"s3_{way}")
            lines += [*base, *_figures(f"s3_{way}", f"the same through S3Blobs, {mib} MiB", ours, base)]
        for way in ("upload", "download"):
            ours = _run_transfer(transfer, f"local_{way}")
            lines += _figures(f"local_{way}", f"{way} through LocalBlobs, {mib} MiB", ours, ())
    return lines


def _write(path: Path, mib: int) -> str:
    """A file of which no two MiB are the same; returns its hash."""
    digest = hashlib.sha256()
    block = os.urandom(MIB - 8)
    with path.open("wb") as file:
        for number in range(mib):
            piece = number.to_bytes(8, "big") + block
            digest.update(piece)
            file.write(piece)
    return digest.hexdigest()


def _run_transfer(transfer: Transfer, way: str) -> dict[str, float]:
    """Seconds and MiB of one transfer in an interpreter of its own."""
    command = [sys.executable, "-m", "benchmarks.files", way, json.dumps(transfer.__dict__)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    target = Path(transfer.target)
    if target.exists():
        assert _sha256_of(target) == transfer.sha256, f"{way}: other bytes came back"
        target.unlink()
    return {name: float(value) for name, value in json.loads(process.stdout).items()}


def _sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _figures(
    key: str, label: str, measures: dict[str, float], baselines: Sequence[Figure] | None = None
) -> list[Figure]:
    """Time and memory of a transfer. `None` marks the baseline's own, of which nothing is asked."""
    bases: Sequence[Figure | None] = baselines or (None, None)
    seconds, mib = [measures["seconds"]], [measures["mib"]]
    demand = None if baselines is None else at_most(EXTRA_MIB_MAX)
    return [
        Figure(key=key, label=label, rounds=seconds, unit="s", baseline=bases[0]),
        Figure(
            key=f"{key}_memory", label="... memory beyond", rounds=mib, unit="MiB", baseline=bases[1], demand=demand
        ),
    ]


def run_child(way: str, transfer: Transfer) -> None:
    """Do one transfer, and print what it took."""
    work = _prepare(way, transfer)
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the most held so far is now what is held
    before = _read_memory_kib("VmRSS")
    started = time.perf_counter()
    work()
    seconds = time.perf_counter() - started
    print(json.dumps({"seconds": seconds, "mib": (_read_memory_kib("VmHWM") - before) / 1024}))


def _prepare(way: str, transfer: Transfer) -> Callable[[], None]:
    """The transfer, with everything imported and connected that comes before it."""
    kind, _, verb = way.partition("_")
    if kind == "plain":
        client = S3(transfer.endpoint, KEY, transfer.secret).client()
        client.list_objects_v2(Bucket=BUCKET)
        if verb == "upload":
            return lambda: client.upload_file(transfer.source, BUCKET, "plain")
        return lambda: client.download_file(BUCKET, "plain", transfer.target)
    store = transfer.blobs() if kind == "s3" else transfer.folder()
    store.exists("acme", transfer.sha256)
    return lambda: transfer.put(store) if verb == "upload" else transfer.read(store)


def _read_memory_kib(field_name: str) -> int:
    """A figure of this process's memory in KiB, as Linux counts it."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field_name)]
    return int(line.split()[1])


if __name__ == "__main__":
    run_child(sys.argv[1], Transfer(**json.loads(sys.argv[2])))
