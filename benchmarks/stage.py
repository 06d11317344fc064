"""The base of the benchmarks: servers in a folder that goes away, a clock, and figures in a table.

What stays true: every figure stands beside a baseline that was measured in the same run, on the same
servers, and is read as a ratio to it. Seconds depend on the machine; ratios much less.
"""

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from store.settings import Settings, load
from threadmill.embedded.programs import Program
from threadmill.embedded.stack import Stack

ROOT = Path(__file__).parents[1]
#: Variables that would turn a benchmark to servers of the user's own, or to a model that costs money.
STEERING_PREFIXES = ("THREADMILL_", "NARRATOR_", "LITELLM_", "CELERY_", "OPENAI_")


@dataclass(frozen=True)
class Figure:
    """One line of the table."""

    label: str
    value: float
    unit: str
    #: The figure of the baseline; None on the baseline's own line.
    baseline: float | None = None
    #: What was asked for, as a largest value; None where nothing was.
    at_most: float | None = None


def is_quick(about: str | None) -> bool:
    """Read the command line: `--quick` is for seeing that it runs, not for its figures."""
    parser = argparse.ArgumentParser(description=(about or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a few rounds only")
    return bool(parser.parse_args().quick)


def show(title: str, figures: Sequence[Figure]) -> None:
    """Print a table. Ends the program with status 1 where a demand is not met."""
    machine = f"Python {platform.python_version()}, {os.cpu_count()} cores, {time.strftime('%Y-%m-%d')}"
    print(f"\n{title}  ({machine})")
    for figure in figures:
        ratio = "baseline" if figure.baseline is None else f"x {figure.value / figure.baseline:.2f}"
        demand = "" if figure.at_most is None else f"at most {figure.at_most:g}: {_verdict(figure)}"
        print(f"  {figure.label:<52} {figure.value:>10.4g} {figure.unit:<8} {ratio:<10} {demand}".rstrip())
    if any(_verdict(figure) == "MISSED" for figure in figures):
        raise SystemExit(1)


def _verdict(figure: Figure) -> str:
    return "met" if figure.at_most is None or figure.value <= figure.at_most else "MISSED"


@contextmanager
def stack(*programs: Program, **settings: str) -> Iterator[Stack]:
    """Servers, with these programs on them, in a folder that is removed. `settings` are variables."""
    clean_environment = {name: value for name, value in os.environ.items() if not name.startswith(STEERING_PREFIXES)}
    variables = {f"THREADMILL_{name.upper()}": value for name, value in settings.items()}
    environment = {
        **clean_environment,
        **variables,
        "PYTHONPATH": str(ROOT),
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_MODE": "PRODUCTION",
    }
    with tempfile.TemporaryDirectory() as folder:
        servers = Stack(Path(folder), environment, plan=lambda _: list(programs))
        with servers:
            yield servers


def settings_of(servers: Stack) -> Settings:
    """The settings of a backend that talks to these servers."""
    addresses = servers.addresses()
    return load(
        database_url=addresses.database_url, broker_url=addresses.broker_url, file_store_url=addresses.file_store
    )


def measure_seconds(work: Callable[[], object]) -> float:
    """Measure the seconds of one call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def processor_seconds(pid: int | None) -> float:
    """The processor time of a process so far, as Linux counts it."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")
