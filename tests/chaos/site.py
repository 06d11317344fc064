"""The installation under fire: servers that keep what they accepted, workers, a clock, a provider.

What stays true: everything runs as children of this process and dies with it; a program that was
killed is started again under its own name; the database and the broker lie on disk as in production,
and the database syncs what it commits.
"""

import base64
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self
from uuid import uuid4

import psycopg
from psycopg.rows import dict_row
from sqlalchemy.engine import make_url

from producers import Producer
from store.migrations import upgrade
from store.settings import load
from tests.acceptance.installation import files, maintenance, quarantine, worker
from tests.chaos import agents, effects
from tests.chaos.gate import Gate, Provider
from tests.chaos.gateway_client import GatewayClient
from tests.chaos.model import PROVIDER_VARIABLE
from tests.chaos.receiver import Receiver
from tests.chaos.tickets import DESK
from tests.conftest import S3
from tests.swift.running import folder_with_attributes
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
GATEWAY = "gateway"
#: Workers whose way to the database can be cut; the others see a server itself that goes.
GATED_WORKERS = ("one", "two")
#: The users' way to the database.
SENDERS_LINE = "senders"
LEASE_DURATION_SECONDS = 5.0
SWEEP_INTERVAL_SECONDS = 1.0
#: Seconds that one attempt to tell the receiver may take: a sender that dies has its claim for as long and a bit.
WEBHOOK_TIMEOUT_SECONDS = 3
#: Seconds in which a program is ready: most of it is importing, on a machine with other work.
START_SECONDS = 180.0
#: PostgreSQL's signal for an immediate shutdown.
IMMEDIATE = signal.SIGQUIT
#: What the server has to say, or a crash may rightly lose what it committed.
DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}


class Site:
    """Servers, programs, and the settings that all of them share."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._stack = ExitStack()
        self.postgres = EmbeddedPostgres(folder / "postgres")
        self.valkey = EmbeddedValkey(folder / "valkey")
        self.programs: dict[str, Process] = {}
        self._plans: dict[str, Program] = {}
        self.lines: dict[str, Gate] = {}

    def __enter__(self) -> Self:
        try:
            self._open()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def processes(self) -> dict[str, int]:
        """Every process that runs now, by name."""
        known = {"PostgreSQL": self.postgres.pid, "Valkey": self.valkey.pid, "Swift": self._swift.pid}
        known |= {name: process.pid for name, process in self.programs.items()}
        return {name: pid for name, pid in known.items() if pid is not None}

    def _open(self) -> None:
        self._stack.enter_context(self.postgres)
        self._stack.enter_context(self.valkey)
        self._check_durable()
        upgrade(self.postgres.url)
        effects.create(self.postgres.url)
        provider = Provider()
        self._stack.callback(provider.close)
        self.provider = self._gate(provider.port)
        self.s3 = self._gate(self._start_swift())
        for name in (*GATED_WORKERS, SENDERS_LINE):
            self.lines[name] = self._gate(make_url(self.postgres.url).port or 0)
        self.receiver = Receiver()
        self._stack.callback(self.receiver.close)
        self.receivers_line = self._gate(self.receiver.port)
        self._gateway_port = free_port()
        self.values: dict[str, Any] = {
            "broker_url": self.valkey.url,
            "file_store_url": f"s3://{BUCKET}/files",
            "s3_endpoint_url": f"http://127.0.0.1:{self.s3.port}",
            "s3_access_key_id": S3_KEY,
            "s3_secret_access_key": self._s3_secret,
            "default_agent": DESK,
            "agent_modules": "tests.chaos.agents",
            "lease_duration_seconds": LEASE_DURATION_SECONDS,
            "heartbeat_interval_seconds": 1,
            "sweep_interval_seconds": SWEEP_INTERVAL_SECONDS,
            "sweep_grace_seconds": 3,
            "shutdown_grace_seconds": 5,
            "webhook_encryption_keys": base64.b64encode(os.urandom(32)).decode(),
            "webhook_allow_networks": "127.0.0.0/8",
            "webhook_interval_seconds": 1,
            "webhook_timeout_seconds": WEBHOOK_TIMEOUT_SECONDS,
            "schedule_interval_seconds": 1,
        }
        self.settings = load(database_url=self._database_url(SENDERS_LINE), **self.values)
        S3(self.values["s3_endpoint_url"], S3_KEY, self._s3_secret).client().create_bucket(Bucket=BUCKET)
        self.producer = Producer(self.settings)
        self._stack.callback(self.producer.close)
        made = self.producer.webhooks.create(f"http://127.0.0.1:{self.receivers_line.port}/hooks")
        self.receiver.secret = made.secret
        self.gateway = GatewayClient(f"http://127.0.0.1:{self._gateway_port}")
        self._stack.callback(self.gateway.close)
        self._start_programs()

    def _gate(self, port: int) -> Gate:
        gate = Gate(port)
        self._stack.callback(gate.cut)
        return gate

    def _database_url(self, name: str) -> str:
        """Where the database is for this program: through its own line, if it has one."""
        if name not in self.lines:
            return self.postgres.url
        url = make_url(self.postgres.url).set(port=self.lines[name].port)
        return url.render_as_string(hide_password=False)

    def _check_durable(self) -> None:
        for name, wanted in DURABLE.items():
            (row,) = self.query(f"SHOW {name}")
            assert row[name] == wanted, f"{name} is {row[name]}"

    # Programs

    def _start_programs(self) -> None:
        clock = programs.beat(self.folder / "beat")
        workers = [worker(name, threads=8) for name in WORKERS]
        for program in (*workers, quarantine(), files(), maintenance(), clock, self._gateway()):
            self._plans[program.name] = program
            self.programs[program.name] = Process(
                program.name,
                program.argv,
                log=self.folder / f"{program.name}.log",
                environment={**self._environment(program.name), **program.environment},
                directory=ROOT,
            )
            self._stack.callback(self.programs[program.name].kill)
        self.start(*self.programs)

    def _gateway(self) -> Program:
        port = self._gateway_port
        return Program(
            name=GATEWAY,
            argv=(sys.executable, "-m", "threadmill", "gateway", "--open", f"--port={port}"),
            is_ready=programs.ready_when_reachable(f"http://127.0.0.1:{port}/health/live"),
        )

    def start(self, *names: str) -> None:
        """Start programs, again if they died, and wait until all are ready."""
        for name in names:
            self.programs[name].start()
        for name in names:
            process = self.programs[name]
            process.wait_ready(partial(self._plans[name].is_ready, process), START_SECONDS)

    def revived(self, when: str) -> list[tuple[str, str]]:
        """The programs that ended by themselves, each with `when` that was seen: all run again after."""
        gone = [name for name, process in self.programs.items() if not process.is_running]
        self.start(*gone)
        return [(name, when) for name in gone]

    def _environment(self, name: str) -> dict[str, str]:
        values = {**self.values, "database_url": self._database_url(name)}
        ours = {f"THREADMILL_{name.upper()}": str(value) for name, value in values.items()}
        theirs = {
            PROVIDER_VARIABLE: str(self.provider.port),
            agents.SHOP_VARIABLE: self.postgres.url,
            "PYTHONUNBUFFERED": "1",
        }
        return {**os.environ, **ours, **theirs}

    def doctor(self) -> "subprocess.CompletedProcess[str]":
        """What `threadmill doctor` says of this installation, as an operator would ask it."""
        return subprocess.run(
            [sys.executable, "-m", "threadmill", "doctor", "--older-than", "0"],
            env=self._environment("doctor"),
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )

    # Servers

    def crash_database(self) -> None:
        """Stop it as `pg_ctl stop -m immediate` does: no checkpoint, and the next start recovers."""
        process = self.postgres.pid
        assert process is not None
        os.kill(process, IMMEDIATE)
        give_up_at = time.monotonic() + START_SECONDS
        while self.postgres.is_running and time.monotonic() < give_up_at:
            time.sleep(0.02)
        self.postgres.stop()

    def _start_swift(self) -> int:
        port, self._s3_secret = free_port(), uuid4().hex
        spare = self._stack.enter_context(TemporaryDirectory(dir="/var/tmp"))
        folder = folder_with_attributes(self.folder, Path(spare)) / "swift"
        command = [
            *(sys.executable, "-W", "ignore::DeprecationWarning"),
            *(str(ROOT / "tests" / "swift" / "server.py"), "--directory", str(folder), "--port", str(port)),
        ]
        environment = {**os.environ, "SWIFT_SECRET": self._s3_secret}
        self._swift = Process("Swift", command, log=self.folder / "swift.log", environment=environment)
        self._stack.callback(self._swift.kill)
        self._swift.start()
        health = programs.ready_when_reachable(f"http://127.0.0.1:{port}/healthcheck")
        self._swift.wait_ready(lambda: health(self._swift), START_SECONDS)
        return port

    def query(self, statement: str, *parameters: object) -> list[dict[str, Any]]:
        """Ask the database itself, past every line that may be cut."""
        with psycopg.connect(self.postgres.url, row_factory=dict_row, connect_timeout=5) as connection:
            cursor = connection.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []
