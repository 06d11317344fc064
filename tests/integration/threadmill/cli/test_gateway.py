"""`threadmill gateway`: it answers who has a key, ends well, and says in a line why it cannot begin."""

import shutil
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from producers import Producer
from store.keys.key_rows import KeyRequest, create_key
from store.keys.key_text import make_key
from store.settings import load
from tests.command import run_command
from tests.gateway_process import running_gateway

ROOT = Path(__file__).parents[4]


def test_it_serves_who_has_a_key_and_lets_requests_end_at_sigterm(migrated_file: Path, tmp_path: Path) -> None:
    shutil.copy(migrated_file, tmp_path / "store.db")
    url = f"sqlite:///{tmp_path}/store.db"
    producer, key = Producer(load(database_url=url, broker_url="redis://127.0.0.1:9")), make_key()
    producer.database.run(create_key, KeyRequest(tenant="default", name="", scopes=("read",), user=None), key)
    turn = producer.send("thread", "hello", allow_unknown_agent=True)
    producer.close()
    environment = {"THREADMILL_DATABASE_URL": url, "THREADMILL_BROKER_URL": "redis://127.0.0.1:9", "PATH": ""}

    with running_gateway(environment) as (process, address), httpx.Client(base_url=address, timeout=30) as client:
        live = client.get("/health/live")
        refused = client.get(f"/v1/turns/{turn.id}")
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(
                lambda: client.get(f"/v1/turns/{turn.id}?wait=3", headers={"Authorization": f"Bearer {key.text}"})
            )
            while not waiting.running():
                pass
            client.get("/health/live")
            process.send_signal(signal.SIGTERM)
            answer = waiting.result()
        status = process.wait(timeout=30)
        log = process.communicate()[1]

    assert (live.status_code, refused.status_code) == (200, 401)
    assert (answer.status_code, answer.json()["state"]) == (200, "queued")
    assert status == 0
    assert "http_request" in log
    assert "server" not in live.headers
    assert key.text not in log
    assert str(turn.id) not in log


@pytest.mark.parametrize("host", ["0.0.0.0", "example.org", "192.168.1.7"])
def test_it_is_open_to_this_machine_alone(tmp_path: Path, host: str) -> None:
    ended = run_command("gateway", "--open", "--host", host, folder=tmp_path, environment={})

    assert ended.returncode == 1
    assert "lets everybody in" in ended.stderr.splitlines()[-1]


def test_a_port_that_is_taken_is_told_in_a_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended = run_command("gateway", "--port", port, folder=tmp_path, environment={})

    assert ended.returncode == 1
    assert (
        ended.stderr.splitlines()[-1] == f"threadmill: cannot listen on 127.0.0.1, port {port}: Address already in use"
    )


def test_without_its_packages_it_says_how_to_get_them(tmp_path: Path) -> None:
    program = "import sys; sys.modules['limits'] = None; from threadmill.cli import main; main()"
    ended = subprocess.run(
        [sys.executable, "-c", program, "gateway"], capture_output=True, text=True, check=False, cwd=ROOT, env={}
    )

    assert ended.returncode == 1
    assert ended.stderr == "threadmill: the gateway needs limits: pip install 'threadmill[gateway]'\n"
