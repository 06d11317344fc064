"""All of Threadmill on one machine: its servers and its Celery programs, as children of one process.

What is true here: a start that fails leaves nothing behind; a server that the user names in the
environment is used and never touched; everything stops in the reverse order of starting, within a
bounded time; and when the owner is killed, everything dies with it (see `process`).
"""

import base64
import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from conversation.errors import InvalidInput
from store.walls.roles import ROLES
from threadmill.embedded import programs
from threadmill.embedded.gateway_key import ensure_gateway_key, load_gateway_key
from threadmill.embedded.home import ENVIRONMENT_FILE, Home
from threadmill.embedded.postgres import EmbeddedPostgres
from threadmill.embedded.process import Process
from threadmill.embedded.programs import FLOWER, FLOWER_USER, HTTP_GATEWAY, Program
from threadmill.embedded.server import Server
from threadmill.embedded.users_servers import check_broker, check_database
from threadmill.embedded.valkey import EmbeddedValkey

Progress = Callable[[str], None]
#: Settings of the workers that a second terminal has to know of as well.
AGENT_SETTINGS = ("AGENT_MODULES", "DEFAULT_AGENT", "MODEL")


@dataclass(frozen=True)
class Addresses:
    """The addresses of a running stack's parts. URLs hold their passwords, so they are left out of `repr`."""

    database_url: str = field(repr=False)
    broker_url: str = field(repr=False)
    file_store: str
    #: Empty when no Flower runs.
    flower_url: str
    flower_user: str
    flower_password: str = field(repr=False)
    #: Both empty when no gateway runs.
    gateway_url: str = ""
    gateway_key: str = field(default="", repr=False)


class Stack:
    """The servers and programs of one folder."""

    def __init__(
        self,
        directory: Path = Path(".threadmill"),
        environment: Mapping[str, str] | None = None,
        *,
        plan: Callable[[Path], Sequence[Program]] = programs.plan,
        process_type: type[Process] = Process,
    ) -> None:
        """Nothing is started. `environment` replaces the user's, that of this process."""
        self._process_type = process_type
        self._home = Home(directory)
        self._user_environment = dict(os.environ if environment is None else environment)
        self._plan = plan
        self._servers: dict[str, Server] = {}
        self._programs: dict[str, tuple[Program, Process]] = {}

    def start(self, progress: Progress = lambda _: None) -> Self:
        """Start everything and return when it works. `progress` hears a line before every step."""
        self._home.own()
        # An owner that was killed left its own behind.
        self._home.remove(ENVIRONMENT_FILE)
        try:
            if url := self._user_setting("BROKER_URL"):
                check_broker(url)
            if url := self._user_setting("DATABASE_URL"):
                check_database(url)
            self._start_servers(progress)
            self._migrate(progress)
            self._start_programs(progress)
            self._home.write_private(ENVIRONMENT_FILE, json.dumps(self.variables))
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Stop everything that was started here. Safe to repeat."""
        self._home.remove(ENVIRONMENT_FILE)
        started_programs = list(reversed(self._programs.values()))
        for program, process in started_programs:
            process.request_stop(program.stop_signal)
        asked_at = time.monotonic()
        for program, process in started_programs:
            process.join(max(0.0, asked_at + program.stop_seconds - time.monotonic()))
        for server in reversed(self._servers.values()):
            server.stop()
        self._home.release()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def variables(self) -> dict[str, str]:
        """The variables that name this installation and what runs there, passwords included."""
        return {
            **{f"THREADMILL_{setting}": value for setting in AGENT_SETTINGS if (value := self._user_setting(setting))},
            "THREADMILL_DATABASE_URL": self._url("postgres", "DATABASE_URL"),
            "THREADMILL_BROKER_URL": self._url("valkey", "BROKER_URL"),
            "THREADMILL_FILE_STORE_URL": self._user_setting("FILE_STORE_URL") or str(self._home.directory / "files"),
            "THREADMILL_RUNTIME_DIR": self._user_setting("RUNTIME_DIR") or str(self._home.directory / "run"),
            "THREADMILL_WEBHOOK_ENCRYPTION_KEYS": self._user_setting("WEBHOOK_ENCRYPTION_KEYS") or self._webhook_key(),
        }

    def _webhook_key(self) -> str:
        """The key that encrypts those of webhooks: of this folder, as its passwords are."""
        secret = self._home.load_secret("webhook-encryption-key")
        return base64.b64encode(hashlib.sha256(secret.encode()).digest()).decode()

    @property
    def environment(self) -> dict[str, str]:
        """The variables of every program here: the user's own, and where the servers are."""
        return {
            **self._user_environment,
            **self.variables,
            # For `threadmill logs`, which shows them to people.
            "THREADMILL_LOG_FORMAT": self._user_setting("LOG_FORMAT") or "json",
            # A line is in the log when it is written, not when a buffer is full.
            "PYTHONUNBUFFERED": "1",
        }

    def addresses(self) -> Addresses:
        """The addresses of the running parts, for a user or a client."""
        variables = self.environment
        flower = Home(self._home.directory / FLOWER) if FLOWER in self._programs else None
        gateway = Home(self._home.directory / HTTP_GATEWAY) if HTTP_GATEWAY in self._programs else None
        return Addresses(
            database_url=variables["THREADMILL_DATABASE_URL"],
            broker_url=variables["THREADMILL_BROKER_URL"],
            file_store=variables["THREADMILL_FILE_STORE_URL"],
            flower_url=f"http://127.0.0.1:{flower.last_port()}/" if flower else "",
            flower_user=FLOWER_USER if flower else "",
            flower_password=flower.load_secret() if flower else "",
            gateway_url=f"http://127.0.0.1:{gateway.last_port()}/" if gateway else "",
            gateway_key=load_gateway_key(gateway) if gateway else "",
        )

    def names(self) -> list[str]:
        """The names of the parts, which can be killed and restarted, in the order of starting."""
        return [*self._servers, *self._programs]

    def pid(self, name: str) -> int | None:
        """The process of a part; None while it is down."""
        return self._find_part(name).pid

    def dead_parts(self) -> list[str]:
        """The parts that are down at this moment."""
        return [name for name in self.names() if not self._find_part(name).is_running]

    def log_tail(self, name: str) -> str:
        """The end of what a part wrote to its log since it started last."""
        return self._find_part(name).log_tail()

    def rotate_logs(self) -> None:
        """Set aside each log that has grown too long."""
        for name in self.names():
            self._find_part(name).rotate_log()

    def kill(self, name: str) -> None:
        """End one part as a crash would. It stays down until `restart`."""
        self._find_part(name).kill()

    def restart(self, name: str) -> None:
        """Stop one part if it runs, start it again, and return when it works."""
        part = self._find_part(name)
        if isinstance(part, Server):
            part.restart()
            return
        program, process = self._programs[name]
        process.stop(program.stop_signal, program.stop_seconds)
        process.start()
        self._await(program, process)

    def build_process(self, program: Program) -> Process:
        """Build the process of a program with this stack's servers and logs; it is not started."""
        return self._process_type(
            program.name,
            program.argv,
            log=self._home.directory / "logs" / f"{program.name}.log",
            environment={**self.environment, **_servers_of(program, self._servers), **program.environment},
        )

    def _find_part(self, name: str) -> Server | Process:
        if name in self._servers:
            return self._servers[name]
        if name in self._programs:
            return self._programs[name][1]
        raise InvalidInput("name", f"no part is called {name!r}", f"use one of {', '.join(self.names())}")

    def _user_setting(self, setting: str) -> str:
        """The user's value of a setting, under either of its names; empty if there is none."""
        return (
            self._user_environment.get(f"THREADMILL_{setting}")
            or self._user_environment.get(f"NARRATOR_{setting}")
            or ""
        )

    def _url(self, server: str, setting: str) -> str:
        return self._user_setting(setting) or self._servers[server].url

    def _start_servers(self, progress: Progress) -> None:
        folder = self._home.directory
        if not self._user_setting("DATABASE_URL"):
            self._servers["postgres"] = EmbeddedPostgres(folder / "postgres")
        if not self._user_setting("BROKER_URL"):
            self._servers["valkey"] = EmbeddedValkey(folder / "valkey")
        for name, server in self._servers.items():
            progress(f"starting {name}")
            server.start()

    def _migrate(self, progress: Progress) -> None:
        from store.migrations import upgrade

        progress("bringing the database to the newest schema")
        upgrade(self.variables["THREADMILL_DATABASE_URL"])
        server = self._servers.get("postgres")
        if isinstance(server, EmbeddedPostgres):
            server.create_logins(ROLES)

    def _start_programs(self, progress: Progress) -> None:
        """Start the programs together, because most of a start is importing; wait for each afterwards."""
        for program in self._plan(self._home.directory):
            progress(f"starting {program.name}")
            process = self.build_process(program)
            self._programs[program.name] = (program, process)
            process.start()
        for program, process in self._programs.values():
            progress(f"waiting for {program.name}")
            self._await(program, process)
        if HTTP_GATEWAY in self._programs:
            url = self.variables["THREADMILL_DATABASE_URL"]
            ensure_gateway_key(Home(self._home.directory / HTTP_GATEWAY), url)

    def _await(self, program: Program, process: Process) -> None:
        process.wait_ready(lambda: program.is_ready(process), program.start_seconds)


def _servers_of(program: Program, servers: Mapping[str, Server]) -> dict[str, str]:
    """The servers of a program, where they are the stack's own: it is a role and a user there, never the owner."""
    urls: dict[str, str] = {}
    if isinstance(postgres := servers.get("postgres"), EmbeddedPostgres):
        urls["THREADMILL_DATABASE_URL"] = postgres.url_as(program.role)
    if isinstance(valkey := servers.get("valkey"), EmbeddedValkey):
        urls["THREADMILL_BROKER_URL"] = valkey.url_as(program.broker_user)
    return urls
