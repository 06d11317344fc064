"""The `threadmill` command: help, mistakes, migrations, and the health of a worker."""

import json
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from store import migrations
from tests.acceptance.command_line import environment, run

pytestmark = pytest.mark.soak

#: Slow to import, or not in the image.
SLOW = ("alembic", "boto3", "celery", "litellm", "psycopg", "pydantic", "redis", "sqlalchemy", "threadmill.embedded")


def complaint(ended: subprocess.CompletedProcess[str]) -> str:
    """The one line that a person can act on."""
    assert ended.returncode == 1, ended
    assert ended.stdout == ""
    assert ended.stderr.startswith("threadmill: ")
    assert ended.stderr.count("\n") == 1, ended.stderr
    return ended.stderr


def test_help_names_every_command(tmp_path: Path) -> None:
    ended = run("--help", folder=tmp_path)

    assert ended.returncode == 0
    assert all(name in ended.stdout for name in ("up", "demo", "migrate", "healthcheck"))


def test_help_loads_nothing_that_is_slow_or_absent_from_the_image(tmp_path: Path) -> None:
    program = "import json, sys, threadmill.cli.command; print(json.dumps(sorted(sys.modules)))"

    command = [sys.executable, "-c", program]
    loaded = json.loads(subprocess.check_output(command, env=environment(tmp_path), text=True))

    assert "threadmill.cli.command" in loaded
    assert [name for name in loaded if name.startswith(SLOW)] == []


@pytest.mark.parametrize("arguments", [["nonsense"], ["migrate", "--now"], ["healthcheck", "nobody"]])
def test_wrong_usage_is_status_2(tmp_path: Path, arguments: list[str]) -> None:
    ended = run(*arguments, folder=tmp_path)

    assert ended.returncode == 2
    assert arguments[-1] in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_wrong_setting_is_named(tmp_path: Path) -> None:
    ended = run("migrate", folder=tmp_path, THREADMILL_LEASE_DURATION_SECONDS="soon")

    assert "THREADMILL_LEASE_DURATION_SECONDS" in complaint(ended)


def test_migrate_tells_the_revisions(tmp_path: Path, empty_database_url: str) -> None:
    first = run("migrate", folder=tmp_path, THREADMILL_DATABASE_URL=empty_database_url)
    second = run("migrate", folder=tmp_path, THREADMILL_DATABASE_URL=empty_database_url)

    newest = migrations.newest_revision()
    assert (first.returncode, first.stdout) == (0, f"the schema is at {newest}; it was not there\n")
    assert (second.returncode, second.stdout) == (0, f"the schema is at {newest}; it was at {newest}\n")


def test_a_schema_of_a_newer_release_is_left_alone(tmp_path: Path, database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'r9999'")

    ended = run("migrate", folder=tmp_path, THREADMILL_DATABASE_URL=database_url)

    assert "revision r9999, which this release does not know" in complaint(ended)


def test_a_database_that_is_away_is_one_line_without_its_password(tmp_path: Path) -> None:
    ended = run("migrate", folder=tmp_path, THREADMILL_DATABASE_URL="postgresql://me:s3cret@127.0.0.1:9/db")

    assert "the database did not answer" in complaint(ended)
    assert "s3cret" not in ended.stderr


def test_without_a_worker_here_nothing_is_healthy(tmp_path: Path) -> None:
    ended = run("healthcheck", "worker", folder=tmp_path)

    assert "no worker's process is here" in complaint(ended)
