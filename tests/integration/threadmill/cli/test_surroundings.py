"""Commands in surroundings that are broken: each ends in one line, never in the traceback of a library."""

import errno
import io
import re
import shutil
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from tests.command import run_command
from tests.every_command import find_commands

pytestmark = pytest.mark.soak

PASSWORD = "s3cret"
GONE = f"postgresql://me:{PASSWORD}@127.0.0.1:9/gone"
#: One command for each way in which commands open what they work on.
EACH_WAY = [("migrate",), ("status",), ("send",), ("doctor",), ("schedules",), ("threads", "list"), ("turns", "list")]
#: Variables with a value of the wrong kind, for each kind that there is.
MALFORMED = {
    "THREADMILL_DATABASE_URL": f"postgresql://me:{PASSWORD}@127.0.0.1:port/db",
    "THREADMILL_BROKER_URL": f"amqp://me:{PASSWORD}@127.0.0.1/db",
    "THREADMILL_LEASE_DURATION_SECONDS": "soon",
    "THREADMILL_TURN_MAX_ATTEMPTS": "many",
    "THREADMILL_PUBLISH_WITH_CELERY": "perhaps",
    "THREADMILL_DB_POOL_SIZE": "-3",
    "THREADMILL_MCP_ALLOW_NETWORKS": "home",
    "THREADMILL_LEASE_DURATION_SECOND": "15",
    "THREADMILL_FILE_STORE_URL": "s3://",
}


def change(url: str, statement: str) -> str:
    """The URL of a SQLite file after one statement."""
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as database, database:
        database.execute(statement)
    return url


def write_garbage(folder: Path) -> str:
    (folder / "garbage.db").write_bytes(b"no database" * 500)
    return f"sqlite:///{folder / 'garbage.db'}"


#: The address of each broken database, made of a migrated SQLite file and a folder, with what the line says.
DATABASES: Mapping[str, tuple[Callable[[str, Path], str], str]] = {
    "no schema": (lambda _, folder: f"sqlite:///{folder}/new.db", "threadmill migrate|"),
    "newer schema": (lambda url, _: change(url, "UPDATE alembic_version SET version_num = 'r9999'"), "|r9999"),
    "half a schema": (lambda url, _: change(url, "DROP TABLE turns"), "|no such table"),
    "read-only": (lambda url, _: f"sqlite:///file:{url.removeprefix('sqlite:///')}?mode=ro&uri=true", "readonly"),
    "a folder": (lambda _, folder: f"sqlite:///{folder}", "check the path in THREADMILL_DATABASE_URL"),
    "no folder": (lambda _, folder: f"sqlite:///{folder}/no/such.db", "check the path in THREADMILL_DATABASE_URL"),
    "garbage": (lambda _, folder: write_garbage(folder), "check the path in THREADMILL_DATABASE_URL"),
    "gone": (lambda *_: GONE, "THREADMILL_DATABASE_URL points there: start that database, or unset the variable"),
    "no host": (lambda *_: GONE.replace("127.0.0.1", "no.such.host.invalid"), "points there"),
    "another kind": (lambda *_: GONE.replace("postgresql", "mysql"), "mysql is not served"),
}


def run(path: tuple[str, ...], folder: Path, **variables: str) -> tuple[int, str]:
    """Run a command, and return its status and what it printed, which is no traceback and no password."""
    environment = {
        "PATH": "/usr/bin:/bin",
        "THREADMILL_BROKER_URL": "redis://127.0.0.1:9/0",
        "THREADMILL_NOTIFY_TIMEOUT_SECONDS": "0.1",
        # A column and a name each need no more of the screen than this line has.
        "COLUMNS": "200",
    }
    done = run_command(*find_commands()[path], folder=folder, environment=environment | variables)
    assert "Traceback" not in done.stderr, done.stderr
    assert PASSWORD not in done.stdout + done.stderr
    if done.returncode == 1:
        # Two commands tell of what is broken as their result.
        is_result = done.stderr == "" and path in {("status",), ("doctor",)}
        assert is_result or re.fullmatch("threadmill: .*\n", done.stderr), done.stderr
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("name", DATABASES)
def test_a_broken_database_is_one_line(name: str, sqlite_url: str, tmp_path: Path) -> None:
    make_url, hint = DATABASES[name]
    url = make_url(sqlite_url, tmp_path)

    for path in EACH_WAY:
        status, printed = run(path, tmp_path, THREADMILL_DATABASE_URL=url)

        # Some commands make the schema themselves, and some need nothing of what is broken.
        assert status == 1 or "|" in hint, (path, printed)
        if status == 1:
            assert re.search(hint, printed), (path, printed)


def test_a_database_that_refuses_us_is_one_line(database_url: str, empty_database_url: str, tmp_path: Path) -> None:
    user, _, place = database_url.partition("@")
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'r9999'")
    refusals = {
        f"{user.rpartition(':')[0]}:{PASSWORD}@{place}": "check user, password and name",
        f"{database_url}-of-nobody": "check user, password and name",
        empty_database_url: "threadmill migrate|schema is not there",
        database_url: "r9999",
    }

    for url, hint in refusals.items():
        for path in [path for path in EACH_WAY if path != ("migrate",) or url == database_url]:
            status, printed = run(path, tmp_path, THREADMILL_DATABASE_URL=url)

            # A schema of the next release is one that this release can work with.
            assert status == 1 or url == database_url, (path, printed)
            if status == 1:
                assert re.search(f"{hint}|no worker has ever", printed), (path, printed)


def test_a_broker_that_is_away_stops_no_command(sqlite_url: str, tmp_path: Path) -> None:
    for broker_url in ("redis://127.0.0.1:9/0", "redis://no.such.host.invalid/0", "redis://127.0.0.1:9/nine"):
        for path in EACH_WAY:
            variables = {"THREADMILL_DATABASE_URL": sqlite_url, "THREADMILL_BROKER_URL": broker_url}
            status, printed = run(path, tmp_path, **variables)

            assert status == 0 or "no worker has ever registered" in printed, (path, printed)


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("THREADMILL_DATABASE_URL", GONE),
        ("THREADMILL_BROKER_URL", f"redis://:{PASSWORD}@127.0.0.1:9/0"),
        ("THREADMILL_LEASE_DURATION_SECONDS", "soon"),
    ],
)
def test_a_stack_does_not_start_beside_what_is_gone(name: str, url: str, tmp_path: Path) -> None:
    done = run_command("up", folder=tmp_path, environment={"PATH": "/usr/bin:/bin", name: url})

    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(f"threadmill: {name}.*\n", done.stderr), done.stderr
    assert PASSWORD not in done.stderr
    assert not (tmp_path / ".threadmill" / "postgres").exists()


@pytest.mark.parametrize("url", ["s3://bucket", "a file"])
def test_a_file_store_that_is_away_is_one_line(url: str, sqlite_url: str, tmp_path: Path) -> None:
    variables = {
        "THREADMILL_DATABASE_URL": sqlite_url,
        "THREADMILL_FILE_STORE_URL": url if url.startswith("s3:") else sqlite_url.removeprefix("sqlite:///"),
        "THREADMILL_S3_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_ACCESS_KEY_ID": "me",
        "AWS_SECRET_ACCESS_KEY": PASSWORD,
    }
    for path in [("files", "report"), ("files", "gc"), ("retention", "run")]:
        status, printed = run(path, tmp_path, **variables)

        assert status == 1, printed


@pytest.mark.parametrize("name", MALFORMED)
def test_a_value_that_is_malformed_is_named(name: str, sqlite_url: str, tmp_path: Path) -> None:
    for path in [("migrate",), ("threads", "list"), ("send",), ("files", "report")]:
        status, printed = run(path, tmp_path, **{"THREADMILL_DATABASE_URL": sqlite_url, name: MALFORMED[name]})

        assert (status, name in printed) == (1, True) or path != ("files", "report"), printed


@pytest.mark.endurance
@pytest.mark.parametrize("name", DATABASES)
def test_a_broken_database_is_one_line_of_every_command(name: str, migrated_file: Path, tmp_path: Path) -> None:
    make_url, _ = DATABASES[name]
    for path in find_commands():
        (tmp_path / "store.db").unlink(missing_ok=True)
        shutil.copy(migrated_file, tmp_path / "store.db")

        run(path, tmp_path, THREADMILL_DATABASE_URL=make_url(f"sqlite:///{tmp_path / 'store.db'}", tmp_path))


class ClosedPipe(io.StringIO):
    """Standard output whose reader has gone."""

    def write(self, text: str, /) -> int:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")


def test_a_reader_that_has_gone_is_no_error(sqlite_url: str, tmp_path: Path) -> None:
    for path in [("threads", "list"), ("schedules",), ("status",)]:
        done = run_command(
            *find_commands()[path],
            folder=tmp_path,
            environment={"PATH": "/usr/bin:/bin", "THREADMILL_DATABASE_URL": sqlite_url},
            stdout=ClosedPipe(),
        )

        assert (done.returncode, done.stderr) == (1, ""), path


@pytest.mark.parametrize("path", [("threads", "list"), ("schedules",)])
def test_ctrl_c_ends_a_command_without_a_word(
    path: tuple[str, ...], sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("store.thread_store.ThreadStore.list_threads", interrupt)
    monkeypatch.setattr("tasks.schedules.load_statuses", interrupt)

    assert run(path, tmp_path, THREADMILL_DATABASE_URL=sqlite_url) == (130, "")
