"""Files of real turns, made ready by a worker of their own."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest

from conversation.attachment import Attachment
from conversation.errors import FileRejected
from tests.acceptance.installation import ROOT, Installation, eventually, files, worker
from tests.clamd import EICAR, scanning

pytestmark = pytest.mark.soak

MINUTE = timedelta(minutes=1)
ASK_READER = {"agent": "reader"}


def text_file(text: str, name: str = "notes.txt") -> Attachment:
    return Attachment(filename=name, content=text.encode())


def pool_of(pid: int | None) -> list[int]:
    """The processes of a prefork worker: those under it that have none under them."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])

    def is_under(child: int) -> bool:
        return child in parents and (parents[child] == pid or is_under(parents[child]))

    return [child for child in parents if is_under(child) and child not in parents.values()]


@pytest.fixture
def clamd() -> Iterator[str]:
    with scanning() as url:
        yield url


def test_an_answer_quotes_a_file_that_another_worker_read(installation: Installation) -> None:
    installation.start(worker(), files())
    note = text_file("The warranty of the grinder ends in March 2031.")

    turn = installation.send("t", "When does the warranty of the grinder end?", attachments=[note], **ASK_READER)

    (result,) = installation.all_ended([turn])
    assert "March 2031" in result.messages[-1].content
    (row,) = installation.query("SELECT extracted_text, prepare_attempts FROM blobs")
    assert (row["extracted_text"], row["prepare_attempts"]) == (note.content.decode(), 1)  # type: ignore[union-attr]
    # And both say how they are: a worker that is frozen is told from one that is not, though they share the machine.
    (files_pid, worker_pid) = (installation.processes[name].pid for name in ("files", "one"))
    assert healthcheck(installation) == 0
    os.kill(worker_pid, signal.SIGSTOP)
    eventually(lambda: healthcheck(installation, "--pid", str(worker_pid)) == 1)
    assert healthcheck(installation, "--pid", str(files_pid)) == 0
    queues = installation.query("SELECT queues, lease_expires_at > now() AS is_alive FROM workers ORDER BY queues")
    assert [(row["queues"], row["is_alive"]) for row in queues] == [(["files"], True), (["turns"], False)]


def healthcheck(installation: Installation, *options: str) -> int:
    command = [sys.executable, "-m", "threadmill.healthcheck", *options]
    return subprocess.run(command, cwd=ROOT, env=installation.environment, capture_output=True, check=False).returncode


@pytest.mark.endurance
def test_the_same_large_file_on_a_hundred_messages_is_stored_once_and_read_once(installation: Installation) -> None:
    installation.start(worker(), files())
    large = text_file("The code of the safe is 4711.\n" + "filling " * 660_000)
    assert large.size is not None
    assert large.size > 5 * 1024 * 1024

    turns = [
        installation.send(f"t{n % 20}", "What is the code of the safe?", attachments=[large], **ASK_READER)
        for n in range(100)
    ]
    results = installation.all_ended(turns, 110)

    assert all("4711" in result.messages[-1].content for result in results)
    (blob,) = installation.query("SELECT size, prepare_attempts FROM blobs")
    assert blob == {"size": large.size, "prepare_attempts": 1}
    (attached,) = installation.query("SELECT count(*) AS n FROM attachments")
    assert attached["n"] == 100
    stored = [path for path in (installation.folder / "files").rglob("*") if path.is_file()]
    assert len(stored) == 1


def test_a_turn_waits_for_a_worker_of_files_and_loses_nothing(installation: Installation) -> None:
    installation.start(worker(), *installation.upkeep(), THREADMILL_PREPARE_TIMEOUT_SECONDS="1")
    turn = installation.send("t", "Bring what?", attachments=[text_file("Bring milk.")], **ASK_READER)

    eventually(lambda: installation.turn_row(turn)["error_kind"] == "file_store_unavailable")
    row = installation.turn_row(turn)
    assert (row["state"], row["error_retryable"], row["error_fault"]) == ("queued", True, "operator")

    installation.start(files())
    (result,) = installation.all_ended([turn])
    assert "Bring milk" in result.messages[-1].content


def test_a_process_that_dies_over_a_file_is_replaced(installation: Installation) -> None:
    installation.start(worker(), files())
    children = pool_of(installation.processes["files"].pid)
    assert len(children) == 2
    for child in children:
        os.kill(child, signal.SIGKILL)

    turn = installation.send("t", "Bring what?", attachments=[text_file("Bring milk.")], **ASK_READER)

    (result,) = installation.all_ended([turn])
    assert "Bring milk" in result.messages[-1].content


def test_an_infected_file_reaches_neither_the_model_nor_a_download(installation: Installation, clamd: str) -> None:
    installation.start(worker(), files(), THREADMILL_SCANNER_URL=clamd)
    bad = text_file(EICAR.decode() + " The secret word is swordfish.", "bad.txt")
    clean = text_file("The polite word is please.", "clean.txt")

    turn = installation.send("t", "Which words are there?", attachments=[bad, clean], **ASK_READER)

    (result,) = installation.all_ended([turn])
    answer = result.messages[-1].content
    assert "swordfish" not in answer
    assert "please" in answer
    with pytest.raises(FileRejected, match="infected"):
        installation.producer.uploads.url(bad, expires=MINUTE)
    with pytest.raises(FileRejected, match="infected"):
        installation.send("u", "again", attachments=[bad], **ASK_READER)
    assert "swordfish" not in installation.logs()
