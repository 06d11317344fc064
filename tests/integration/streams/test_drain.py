"""A server process that is asked to stop while streams are open: they end, and so does it."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from tests.integration.streams.conftest import Stage
from tests.integration.streams.scripted_gateway import THREAD

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("app", "prefix", "number"), [("alone", "", signal.SIGINT), ("mounted", "/chat", signal.SIGTERM)]
)
def test_streams_end_and_the_process_exits(stage: Stage, app: str, prefix: str, number: int, tmp_path: Path) -> None:
    environment = {**os.environ, "THREADMILL_DATABASE_URL": stage.producer.settings.database_url.get_secret_value()}
    command = [sys.executable, "-m", "uvicorn", f"tests.integration.streams.draining_app:{app}", "--fd"]
    with socket.create_server(("127.0.0.1", 0)) as listening, (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(
            [*command, str(listening.fileno())],
            cwd=ROOT, env=environment, pass_fds=[listening.fileno()], stdout=log, stderr=log,
        )  # fmt: skip
        address = f"http://127.0.0.1:{listening.getsockname()[1]}{prefix}/v1/threads/{THREAD}/events"
        with httpx.stream("GET", address, headers={"Authorization": "secret"}, timeout=60) as stream:
            chunks = stream.iter_text()
            text = next(chunks)
            while "id: 5" not in text:
                text += next(chunks)
            server.send_signal(number)
            asked = time.monotonic()
            last = "".join(chunks)
            seconds = time.monotonic() - asked
        # A second of its own; the rest is what a busy machine may add.
        assert server.wait(timeout=30) in {0, -number}
    assert last.startswith("retry: ")
    assert seconds < 5
    assert "ERROR" not in (tmp_path / "log").read_text()
