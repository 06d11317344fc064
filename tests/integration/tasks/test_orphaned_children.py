"""A worker that dies while the children of its pool start leaves no process behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

#: Its children wait before they ask Linux for their death: else it is a matter of chance who is first.
APP = """
import os, time
from pathlib import Path
from celery import Celery, platforms
from tasks import orphaned_children

app = Celery("standin", broker=os.environ["STANDIN_BROKER_URL"])
orphaned_children.connect()
ask = platforms.set_pdeathsig

def ask_late(name):
    Path("children", str(os.getpid())).touch()
    while not Path("asks").exists():
        time.sleep(0.02)
    ask(name)

platforms.set_pdeathsig = ask_late
"""


def is_alive(process: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{process}/stat").read_text()
    except FileNotFoundError:
        return False


def eventually(what: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 30
    while not what() and time.monotonic() < deadline:
        time.sleep(0.05)
    return what()


def test_children_whose_worker_died_while_they_started_end(valkey_url: str, tmp_path: Path) -> None:
    (tmp_path / "standin.py").write_text(APP)
    (folder := tmp_path / "children").mkdir()
    command = [sys.executable, "-m", "celery", "-A", "standin", "worker", "-P", "prefork", "-c", "2"]
    environment = {**os.environ, "STANDIN_BROKER_URL": valkey_url}
    worker = subprocess.Popen(command, cwd=tmp_path, env=environment, start_new_session=True)
    try:
        assert eventually(lambda: len(list(folder.iterdir())) == 2)
        worker.kill()
        worker.wait()
        children = [int(child.name) for child in folder.iterdir()]
        assert all(is_alive(child) for child in children)

        (tmp_path / "asks").touch()

        assert eventually(lambda: not any(is_alive(child) for child in children))
    finally:
        with suppress(ProcessLookupError):  # as it should be
            os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()
