"""`threadmill up`: it starts, tells where everything is, mends itself, and stops."""

import os
import re
import signal
from pathlib import Path

import httpx
import psycopg
import pytest

from tests.acceptance.command_line import processes_of, read_until, run, started
from tests.command import run_command

pytestmark = pytest.mark.soak

LAST_LINE = "export THREADMILL_FILE_STORE_URL="


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.endurance)])
def test_it_tells_its_addresses_and_stops_when_asked_to(tmp_path: Path, number: signal.Signals) -> None:
    with started("up", folder=tmp_path) as up:
        told = read_until(up, LAST_LINE)
        assert "user threadmill" in told
        assert re.search(r"Flower    http://127\.0\.0\.1:\d+/", told)
        chat = re.search(r"chat      (http://127\.0\.0\.1:\d+/)  in a browser\n +key (tmk_\w+)\n", told)
        assert chat, told
        page = httpx.get(chat[1], trust_env=False)
        assert "<title>Threadmill</title>" in page.text
        assert "'unsafe" not in page.headers["content-security-policy"]
        threads = httpx.get(f"{chat[1]}v1/threads", headers={"Authorization": f"Bearer {chat[2]}"}, trust_env=False)
        assert threads.json() == {"threads": [], "next_cursor": None}
        assert httpx.get(f"{chat[1]}v1/threads", trust_env=False).status_code == 401
        database = re.search(r"export THREADMILL_DATABASE_URL=(postgresql://\S+)", told)
        assert database, told
        with psycopg.connect(database[1]) as connection:
            assert connection.execute("SELECT count(*) FROM threads").fetchone() == (0,)
        for command in (["status"], ["healthcheck", "worker"]):
            second_terminal = run(*command, folder=tmp_path)
            assert second_terminal.returncode == 0, second_terminal

        # Another terminal in this folder needs no address; nobody else can read it.
        listed = run_command("turns", "list", folder=tmp_path, environment={})
        assert (listed.returncode, listed.stdout) == (0, "no turns match\n")
        assert (tmp_path / ".threadmill" / "environment.json").stat().st_mode & 0o777 == 0o600
        logged = run("logs", "--service", "turns", folder=tmp_path).stdout
        assert " info    worker_started " in logged
        assert "ready." in logged

        up.send_signal(number)

        told, _ = up.communicate(timeout=60)
    assert up.returncode == 0
    assert told.endswith("stopped\n")
    assert processes_of(tmp_path) == {}
    assert (tmp_path / ".threadmill" / "postgres" / "data").is_dir()
    assert not (tmp_path / ".threadmill" / "environment.json").exists()


def test_it_stops_while_the_database_is_still_being_made(tmp_path: Path) -> None:
    """The program that makes it starts servers of its own."""
    with started("up", folder=tmp_path) as up:
        read_until(up, "starting postgres")
        while not any("postgres --single" in command for command in processes_of(tmp_path).values()):
            assert up.poll() is None

        up.send_signal(signal.SIGINT)

        up.communicate(timeout=60)
    assert up.returncode == 0
    assert processes_of(tmp_path) == {}


def test_a_part_that_dies_is_started_again(tmp_path: Path) -> None:
    with started("up", folder=tmp_path) as up:
        read_until(up, LAST_LINE)
        [worker] = [
            pid
            for pid, command in processes_of(tmp_path).items()
            if "worker -n maintenance@" in command and "tether" not in command
        ]

        os.kill(worker, signal.SIGKILL)

        told = read_until(up, "maintenance is up again")
        assert "maintenance died and is started again in 1 s; the end of its log:" in told
        assert "celery" in told
        assert "maintenance is up again" in told
        up.send_signal(signal.SIGINT)
        up.communicate(timeout=60)
    assert up.returncode == 0
    assert processes_of(tmp_path) == {}


def test_a_second_one_in_the_same_folder_is_refused_in_one_line(tmp_path: Path) -> None:
    with started("up", folder=tmp_path) as up:
        read_until(up, "starting postgres")

        second = run("up", folder=tmp_path)

        assert second.returncode == 1
        assert second.stderr.count("\n") == 1
        assert f"is in use by process {up.pid}" in second.stderr
        up.send_signal(signal.SIGINT)
        up.communicate(timeout=60)
    assert up.returncode == 0
    assert processes_of(tmp_path) == {}


@pytest.mark.endurance
def test_the_address_of_a_server_of_the_users_is_not_shown(tmp_path: Path, database_url: str, valkey_url: str) -> None:
    servers = {"THREADMILL_DATABASE_URL": database_url, "THREADMILL_BROKER_URL": valkey_url}
    with started("up", folder=tmp_path, **servers) as up:
        told = read_until(up, LAST_LINE)
        up.send_signal(signal.SIGINT)
        up.communicate(timeout=60)

    assert "database  yours" in told
    assert "broker    yours" in told
    assert database_url not in told
    assert valkey_url not in told
