"""The base of the benchmarks: servers in a folder that goes away, clocks, and work in threads."""

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psycopg

from store.live import broker_users
from store.settings import Settings, load
from threadmill.embedded.programs import Program, worker
from threadmill.embedded.stack import Stack

ROOT = Path(__file__).parents[1]
#: Variables that would turn a benchmark to servers of the user's own, or to a model that costs money.
STEERING_PREFIXES = ("THREADMILL_", "NARRATOR_", "LITELLM_", "CELERY_", "OPENAI_")


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


def bare_worker(name: str, queue: str, *options: str) -> Program:
    """A worker of bare tasks, who may do anything at the broker: its queue is none that our users know."""
    program = worker(name, [queue], app="benchmarks.noop", options=options)
    return replace(program, broker_user=broker_users.OPERATOR)


def settings_of(servers: Stack, **others: object) -> Settings:
    """The settings of a backend that talks to these servers."""
    addresses = servers.addresses()
    return load(
        database_url=addresses.database_url,
        broker_url=addresses.broker_url,
        file_store_url=addresses.file_store,
        **others,
    )


def measure_seconds(work: Callable[[], object]) -> float:
    """Measure the seconds of one call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def rounds_within(seconds: float, rounds: int) -> Iterator[int]:
    """The numbers of so many rounds, at least one: none begins after so many seconds."""
    deadline = time.monotonic() + seconds
    for number in range(rounds):
        if number and time.monotonic() > deadline:
            return
        yield number


def processor_seconds(pid: int | None) -> float:
    """The processor time of a process so far, as Linux counts it."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def processor_seconds_of_tree(pid: int | None) -> float:
    """The processor time of a process and of all that it started, those that have ended included."""
    ticks, members = 0, {pid}
    # A child's number is nearly always above its parent's; once around the end of numbers one is missed.
    for path in sorted(Path("/proc").glob("[0-9]*"), key=lambda path: int(path.name)):
        try:
            words = (path / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended meanwhile
        if int(path.name) == pid or int(words[1]) in members:
            members.add(int(path.name))
            ticks += sum(map(int, words[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def resident_kib(pid: int | None) -> int:
    """The memory that a process holds now, in KiB, as Linux counts it."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def read_wal_position(connection: psycopg.Connection[tuple[object, ...]]) -> int:
    """The bytes of write-ahead log so far. The difference of two is what was written between them."""
    row = connection.execute("select pg_current_wal_insert_lsn() - '0/0'").fetchone()
    assert row is not None
    return int(str(row[0]))


def run_in_threads(work: Callable[[int], object], threads: int, count: int) -> None:
    """Call `work` for each number: thread n does n, n + threads, ..."""

    def run_share(first: int) -> None:
        for number in range(first, count, threads):
            work(number)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(run_share, range(threads)))
