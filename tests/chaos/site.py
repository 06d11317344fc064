"""The installation under fire: servers that keep what they accepted, workers, a clock, a provider.

What stays true: everything runs as children of this process and dies with it; a program that was
killed is started again under its own name; the database and the broker lie on disk as in production.
"""

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self
from uuid import uuid4

import psycopg
from psycopg.rows import dict_row

from producers import Producer
from store.migrations import upgrade
from store.settings import load
from tests.acceptance.installation import maintenance, suspects, worker
from tests.chaos import agents, effects
from tests.chaos.gate import Gate, Provider
from tests.conftest import S3, folder_with_attributes
from threadmill.embedded import programs
from threadmill.embedded.home import free_port
from threadmill.embedded.postgres import EmbeddedPostgres
from threadmill.embedded.process import Process
from threadmill.embedded.programs import Program
from threadmill.embedded.valkey import EmbeddedValkey

ROOT = Path(__file__).parents[2]
BUCKET = "chaos"
S3_KEY = "threadmill:tester"
WORKERS = ("one", "two", "three")
LEASE_SECONDS = 5.0
SWEEP_SECONDS = 1.0


class Site:
    """Servers, programs, and the settings that all of them share."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._stack = ExitStack()
        self.postgres = EmbeddedPostgres(folder / "postgres")
        self.valkey = EmbeddedValkey(folder / "valkey")
        self.programs: dict[str, Process] = {}
        self._plans: dict[str, Program] = {}

    def __enter__(self) -> Self:
        try:
            self._open()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _open(self) -> None:
        self._stack.enter_context(self.postgres)
        self._stack.enter_context(self.valkey)
        upgrade(self.postgres.url)
        effects.create(self.postgres.url)
        provider = Provider()
        self._stack.callback(provider.close)
        self.provider = Gate(provider.port)
        self._stack.callback(self.provider.cut)
        self.s3 = Gate(self._start_swift())
        self._stack.callback(self.s3.cut)
        self.values: dict[str, Any] = {
            "database_url": self.postgres.url,
            "broker_url": self.valkey.url,
            "file_store": f"s3://{BUCKET}/files",
            "s3_endpoint_url": f"http://127.0.0.1:{self.s3.port}",
            "s3_access_key_id": S3_KEY,
            "s3_secret_access_key": self._s3_secret,
            "default_agent": agents.AGENT,
            "agents": "tests.chaos.agents",
            "lease_seconds": LEASE_SECONDS,
            "heartbeat_seconds": 1,
            "sweep_seconds": SWEEP_SECONDS,
            "sweep_grace_seconds": 3,
            "shutdown_grace_seconds": 5,
        }
        self.settings = load(**self.values)
        S3(self.values["s3_endpoint_url"], S3_KEY, self._s3_secret).client().create_bucket(Bucket=BUCKET)
        self.producer = Producer(self.settings)
        self._stack.callback(self.producer.close)
        self._start_programs()

    # Programs

    def _start_programs(self) -> None:
        clock = programs.beat(self.folder / "beat")
        workers = [worker(name, threads=8) for name in WORKERS]
        for program in (*workers, suspects(), maintenance(), clock):
            self._plans[program.name] = program
            self.programs[program.name] = Process(
                program.name,
                program.argv,
                log=self.folder / f"{program.name}.log",
                environment={**self._environment(), **program.environment},
                directory=ROOT,
            )
            self._stack.callback(self.programs[program.name].kill)
            self.programs[program.name].start()
        for name in self.programs:
            self.wait_for(name)

    def start(self, name: str) -> None:
        """Start a program again that died."""
        self.programs[name].start()
        self.wait_for(name)

    def wait_for(self, name: str) -> None:
        program, process = self._plans[name], self.programs[name]
        process.wait_ready(lambda: program.ready(process), 180)

    def _environment(self) -> dict[str, str]:
        ours = {f"THREADMILL_{name.upper()}": str(value) for name, value in self.values.items()}
        theirs = {agents.PROVIDER_VARIABLE: str(self.provider.port), "PYTHONUNBUFFERED": "1"}
        return {**os.environ, **ours, **theirs}

    def doctor(self) -> "subprocess.CompletedProcess[str]":
        """What `threadmill doctor` says of this installation, as an operator would ask it."""
        return subprocess.run(
            [sys.executable, "-m", "threadmill", "doctor", "--older-than", "0"],
            env=self._environment(),
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )

    # Servers

    def _start_swift(self) -> int:
        port, self._s3_secret = free_port(), uuid4().hex
        spare = self._stack.enter_context(TemporaryDirectory(dir="/var/tmp"))
        folder = folder_with_attributes(self.folder, Path(spare)) / "swift"
        command = [
            *(
                sys.executable,
                "-W",
                "ignore::DeprecationWarning",
                str(ROOT / "tests" / "swift" / "server.py"),
            ),
            *("--directory", str(folder), "--port", str(port)),
        ]
        environment = {**os.environ, "SWIFT_SECRET": self._s3_secret}
        swift = Process("Swift", command, log=self.folder / "swift.log", environment=environment)
        self._stack.callback(swift.kill)
        swift.start()
        health = programs.answers(f"http://127.0.0.1:{port}/healthcheck")
        swift.wait_ready(lambda: health(swift), 60)
        return port

    def query(self, statement: str, *parameters: object) -> list[dict[str, Any]]:
        with psycopg.connect(self.postgres.url, row_factory=dict_row, connect_timeout=5) as connection:
            cursor = connection.execute(statement, parameters)  # type: ignore[call-overload]
            return cursor.fetchall() if cursor.description else []
