"""A real PgBouncer in front of a database, for as long as a block lasts.

What stays true: it lends a connection for one transaction, and knows no prepared statements; it listens
on loopback only; it does not run as root.
"""

import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg

from threadmill.embedded.home import Home

#: Seconds in which it has to answer.
START_SECONDS = 10.0
#: Where Debian puts it, which is on root's path alone.
SYSTEM_PROGRAMS = "/usr/sbin"


def find_pgbouncer() -> str | None:
    """The program; None where it is not installed."""
    return shutil.which("pgbouncer", path=f"{os.environ.get('PATH', os.defpath)}:{SYSTEM_PROGRAMS}")


@contextmanager
def running_pgbouncer(database_url: str, folder: Path, *, pool_size: int = 20) -> Iterator[str]:
    """The address of the database behind a PgBouncer of its own, which opens so many connections to it."""
    program = find_pgbouncer()
    assert program is not None, "PgBouncer is not installed"
    parts = urlsplit(database_url)
    port = Home(folder).choose_port()
    configuration = _write_configuration(database_url, folder, port, pool_size)
    process = subprocess.Popen([program, "-q", str(configuration)], user=_unprivileged_user(folder))
    url = f"postgresql://{parts.username}:{parts.password}@127.0.0.1:{port}{parts.path}"
    try:
        _wait_until_answering(url)
        yield url
    finally:
        process.terminate()
        process.wait(timeout=START_SECONDS)


def _write_configuration(database_url: str, folder: Path, port: int, pool_size: int) -> Path:
    parts = urlsplit(database_url)
    users = folder / "users.txt"
    users.write_text(f'"{parts.username}" "{parts.password}"\n')
    configuration = folder / "pgbouncer.ini"
    configuration.write_text(
        "[databases]\n"
        f"{parts.path.lstrip('/')} = host=127.0.0.1 port={parts.port}\n"
        "[pgbouncer]\n"
        f"listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
        f"auth_type = scram-sha-256\nauth_file = {users}\n"
        f"pool_mode = transaction\ndefault_pool_size = {pool_size}\nmax_client_conn = 1000\n"
        f"logfile = {folder / 'pgbouncer.log'}\n"
    )
    return configuration


def _unprivileged_user(folder: Path) -> str | None:
    """Whom it runs as where we are root, which it refuses: the folder becomes that user's."""
    if os.geteuid() != 0:
        return None
    user = pwd.getpwnam("nobody")
    for path in (folder, *folder.iterdir()):
        os.chown(path, user.pw_uid, user.pw_gid)
    return user.pw_name


def _wait_until_answering(url: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            psycopg.connect(url, connect_timeout=2).close()
            return
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
