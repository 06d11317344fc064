"""Threadmill as it runs for users, for one test: worker processes, beat and sweep on real servers.

What stays true: every process dies with the test; times are shortened by settings alone; what a test
asserts it reads from the database, from the agents' notes, or from what a user of `producers` sees.
"""

import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

from conversation.task_contract import FILES_QUEUE, MAINTENANCE_QUEUE, QUARANTINE_QUEUE, TURNS_QUEUE
from conversation.turn import TurnResult
from producers import Producer, Turn
from store.live.broker_users import PRODUCER
from store.settings import load
from tests.acceptance.gates import FOLDER_VARIABLE
from threadmill.embedded import programs
from threadmill.embedded.process import Process
from threadmill.embedded.programs import Program
from threadmill.embedded.warm_process import WarmProcess

ROOT = Path(__file__).parents[2]
#: Times of a patient installation, shortened so that a test need not wait for them.
HASTY = {
    "THREADMILL_LEASE_DURATION_SECONDS": "3",
    "THREADMILL_HEARTBEAT_INTERVAL_SECONDS": "0.5",
    "THREADMILL_SWEEP_INTERVAL_SECONDS": "0.5",
    "THREADMILL_SWEEP_GRACE_SECONDS": "1",
}


class Installation:
    """One database, one broker, and the processes that work on them."""

    def __init__(
        self, database_url: str, broker_url: str, folder: Path, *, broker_url_as: Callable[[str], str] | None = None
    ) -> None:
        """`broker_url_as` gives each program the URL of its own user at the broker."""
        self.broker_url_as = broker_url_as or (lambda _: broker_url)
        self.folder = folder
        self.database_url = database_url
        self.environment = {
            **os.environ,
            "THREADMILL_DATABASE_URL": database_url,
            "THREADMILL_BROKER_URL": broker_url,
            "THREADMILL_FILE_STORE_URL": str(folder / "files"),
            "THREADMILL_RUNTIME_DIR": str(folder / "run"),
            "THREADMILL_AGENT_MODULES": "tests.acceptance.agents_for_tests",
            "THREADMILL_DEFAULT_AGENT": "worker",
            FOLDER_VARIABLE: str(folder),
            "PYTHONUNBUFFERED": "1",
            **HASTY,
        }
        self.producer = Producer(
            load(
                database_url=database_url,
                broker_url=self.broker_url_as(PRODUCER),
                file_store_url=str(folder / "files"),
                default_agent="worker",
            )
        )
        self.processes: dict[str, Process] = {}

    # Processes

    def start(self, *wanted: Program, **variables: str) -> None:
        """Start programs together, because most of a start is importing, and wait until all work."""
        self.launch(*wanted, **variables)
        for program in wanted:
            process = self.processes[program.name]
            process.wait_ready(lambda ready=program.is_ready, at=process: ready(at), program.start_seconds)

    def launch(self, *wanted: Program, **variables: str) -> None:
        """Start programs and wait for nothing."""
        for program in wanted:
            # What is no program of Celery's is imported anew.
            kind = WarmProcess if "celery" in program.argv else Process
            process = kind(
                program.name,
                program.argv,
                log=self.folder / f"{program.name}.log",
                environment={
                    **self.environment,
                    "THREADMILL_BROKER_URL": self.broker_url_as(program.broker_user),
                    **program.environment,
                    **variables,
                },
                directory=ROOT,
            )
            self.processes[program.name] = process
            process.start()

    def upkeep(self) -> tuple[Program, Program]:
        """The sweep, and the clock that asks for it."""
        return maintenance(), beat(self.folder)

    def close(self) -> None:
        """End every process at once: a test that stops one in good order does so itself."""
        for process in self.processes.values():
            process.kill()
        self.producer.close()

    def logs(self) -> str:
        """What all processes said."""
        return "\n".join(process.log.read_text(errors="replace") for process in self.processes.values())

    def stop(self, name: str, seconds: float = 60) -> float:
        """Ask one process to end, as a deployment does; returns the seconds that it took."""
        asked = time.monotonic()
        process = self.processes[name]
        process.request_stop(signal.SIGTERM)
        process.join(seconds)
        return time.monotonic() - asked

    # What users do

    def send(self, thread: str, content: str, **options: Any) -> Turn:
        return self.producer.send(thread, content, **options)

    def all_ended(self, turns: Iterable[Turn], seconds: float = 90) -> list[TurnResult]:
        """Wait for turns in one look at a time, so that waiting costs the workers nothing."""
        wanted = {turn.id: turn for turn in turns}
        eventually(lambda: self._unfinished(wanted) == 0, seconds, lambda: self.told(wanted))
        return [self.result(turn) for turn in wanted.values()]

    def result(self, turn: Turn) -> TurnResult:
        found = turn.result
        assert found is not None, self.told([turn.id])
        return found

    def _unfinished(self, ids: Iterable[str]) -> int:
        (row,) = self.query(
            "SELECT count(*) AS n FROM turns WHERE id = ANY(%s::uuid[]) AND state IN ('queued', 'running')", list(ids)
        )
        return int(row["n"])

    # What is stored

    def query(self, statement: str, *parameters: object) -> list[dict[str, Any]]:
        with psycopg.connect(self.database_url, row_factory=dict_row) as connection:
            cursor = connection.execute(statement, parameters)  # type: ignore[call-overload]
            return cursor.fetchall() if cursor.description else []

    def turn_row(self, turn: Turn) -> dict[str, Any]:
        (row,) = self.query("SELECT * FROM turns WHERE id = %s", turn.id)
        return row

    def history(self, thread: str | None = None) -> list[dict[str, Any]]:
        """The stored messages of one thread, or of all, in order."""
        return self.query(
            "SELECT t.id AS thread, m.* FROM messages m JOIN threads t ON t.key = m.thread_key "
            "WHERE t.id = %s OR %s::text IS NULL ORDER BY m.thread_key, m.seq",
            thread,
            thread,
        )

    def told(self, ids: Iterable[str]) -> str:
        """What a failed wait shows: turns, workers, and the ends of the logs."""
        rows = self.query(
            "SELECT id, state, attempt, crashes, error_kind, retry_at, notified_at FROM turns "
            "WHERE id = ANY(%s::uuid[]) AND state <> 'completed'",
            list(ids),
        )
        words = [f"--- {p.name} (exit {p.exit_code})\n{p.log_tail(30)}" for p in self.processes.values()]
        return "\n".join([*map(str, rows[:10]), *words])

    # What the agents did

    def notes(self, what: str | None = None) -> list[dict[str, Any]]:
        path = self.folder / "notes"
        lines = path.read_text().splitlines() if path.exists() else []
        return [entry for line in lines if (entry := json.loads(line))["what"] == what or what is None]

    def saw(self, what: str, count: int = 1, seconds: float = 60) -> list[dict[str, Any]]:
        """Wait until the agents noted this so many times."""
        eventually(lambda: len(self.notes(what)) >= count, seconds, lambda: self.told([]))
        return self.notes(what)

    def open_gate(self, name: str) -> None:
        (self.folder / f"gate-{name}").touch()


def worker(name: str = "one", *, threads: int = 16) -> Program:
    return programs.worker(name, [TURNS_QUEUE], options=["-c", str(threads)])


def quarantine() -> Program:
    return programs.worker("quarantine", [QUARANTINE_QUEUE], options=["-c", "1"])


def maintenance(name: str = "maintenance") -> Program:
    return programs.worker(name, [MAINTENANCE_QUEUE], options=["-P", "threads", "-c", "3"])


def files(name: str = "files") -> Program:
    return programs.worker(name, [FILES_QUEUE], options=["-P", "prefork", "-c", "2"])


def beat(folder: Path, name: str = "beat") -> Program:
    return replace(programs.beat(folder / name), name=name)


def eventually(what: Callable[[], object], seconds: float = 60, told: Callable[[], str] = lambda: "") -> float:
    """Wait until `what` holds; returns the seconds that it took."""
    started = time.monotonic()
    while not what():
        assert time.monotonic() - started < seconds, f"not within {seconds:g} seconds\n{told()}"
        time.sleep(0.05)
    return time.monotonic() - started


def assert_well_formed(history: list[dict[str, Any]]) -> None:
    """Each tool call of an assistant is followed by exactly one tool message; nothing stands twice."""
    waiting: Counter[str] = Counter()
    assert len({(m["thread"], m["seq"]) for m in history}) == len(history)
    for message in history:
        if message["role"] == "tool":
            assert waiting[message["tool_call_id"]] == 1, message
            del waiting[message["tool_call_id"]]
            continue
        assert not waiting, message
        waiting.update(call["id"] for call in message["tool_calls"] or ())
    assert not waiting


def run_python(script: str, *arguments: str, environment: dict[str, str], log: Path) -> Process:
    """A further process of the test's, started and not waited for."""
    command = [sys.executable, "-c", script, *arguments]
    process = Process("script", command, log=log, environment=environment, directory=ROOT)
    process.start()
    return process
