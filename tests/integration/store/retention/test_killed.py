"""Retention and erasure killed by SIGKILL at any moment: one more run leaves what is to be left."""

import os
import shutil
import signal
import traceback
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest
from sqlalchemy import exists, select

from store import tables
from store.audit import hash_of
from store.blobs import LocalBlobs
from store.database.engine import Database
from store.erasure.certificate import digest_of
from store.erasure.subject import Subject
from store.erasure.workflow import run_erasure
from store.settings import load
from store.tables import retention as retention_tables
from store.tables.retention import ARCHIVES
from tests.conftest import LendDatabase
from tests.integration.store.dying import until_it_dies
from tests.integration.store.scenes import TURN, Scene

pytestmark = pytest.mark.soak

RULES = {"retention_idle_days": 30, "retention_max_messages": 2 * TURN, "retention_archive": True}


def die(url: str, scene: Scene, count: int, work: str) -> str:
    """Run it in a process that dies after so many events; how many it saw, if it lived."""
    reading, writing = os.pipe()
    # Forked, and not started: the imports would cost more than all that it does.
    child = os.fork()
    if child == 0:
        try:
            seen = until_it_dies(url, scene.settings.file_store_url, count, RULES, work)
            os.write(writing, str(seen).encode())
            os._exit(0)
        except BaseException:  # noqa: BLE001 - this process ends here, whatever it was
            traceback.print_exc()
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading) as told:
        said = told.read()
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == (-signal.SIGKILL if count else 0)
    return said


def seed(scene: Scene) -> None:
    """A thread that goes whole, one that is cut, one that is held, one that is at work, one that stays."""
    scene.answered("idle", 3, file=b"of idle")
    scene.answered("full", 4, file=b"of full")
    scene.send("never answered", "idle", file=b"inbox")
    scene.database.run(
        lambda c: c.execute(
            tables.turns.update()
            .where(tables.turns.c.state == "queued")
            .values(state="cancelled", finished_at=tables.turns.c.created_at)
        )
    )
    scene.answered("held", 3)
    scene.change("held", legal_hold=True)
    scene.answered("busy", 3)
    scene.claimed("one more", "busy")
    scene.answered("new", 1, file=b"of full")
    for thread in ("idle", "held", "busy"):
        scene.age(40, thread)


def scene_of(url: str, folder: Path) -> Scene:
    values: dict[str, Any] = {**RULES, "blob_grace_days": 0}
    settings = load(database_url=url, file_store_url=str(folder / "files"), **values)
    return Scene(Database(settings), settings, LocalBlobs(folder / "files"))


@pytest.fixture
def seeded(database_url: str, tmp_path: Path) -> Scene:
    scene = scene_of(database_url, tmp_path)
    seed(scene)
    return scene


@pytest.mark.timeout(900)
@pytest.mark.parametrize("deaths", [15, pytest.param(50, marks=pytest.mark.endurance)])
def test_a_run_that_was_killed_anywhere_is_made_up_for(
    seeded: Scene, database_url: str, lend_database: LendDatabase, tmp_path: Path, deaths: int
) -> None:
    seeded.database.close()
    template = database_url.rpartition("/")[2].partition("?")[0]
    with lend_database(template) as url:
        events = int(die(url, scene_of(url, copied(seeded, tmp_path, "count")), 0, "retention"))
    assert events > deaths

    for moment in sorted(Random(7).sample(range(1, events + 1), deaths)):
        with lend_database(template) as url:
            scene = scene_of(url, copied(seeded, tmp_path, str(moment)))
            die(url, scene, moment, "retention")

            scene.run()

            check_what_is_left(scene)
            scene.database.close()


def copied(seeded: Scene, tmp_path: Path, name: str) -> Path:
    """The files of the seeded scene, for one process to work on."""
    shutil.copytree(seeded.settings.file_store_url, tmp_path / name / "files")
    return tmp_path / name


def check_what_is_left(scene: Scene) -> None:
    assert scene.row("idle") is None
    assert scene.contents("full")[0] == "question 3"
    assert len(scene.contents("full")) == 2 * TURN
    assert [len(scene.contents(name)) for name in ("held", "busy", "new")] == [3 * TURN, 3 * TURN + 1, TURN]
    assert scene.pending() == []
    check_no_orphans(scene)
    # Every row that went is counted once: 3 turns of one thread, 2 of the other, and what never began.
    counted: Counter[str] = Counter()
    for row in scene.audited():
        counted.update(row.details.get("counts", {}))
    gone = {"messages": 5 * TURN, "turns": 6, "steps": 5, "inbox_messages": 1, "attachments": 6, "threads": 1}
    assert {name: counted[name] for name in gone} == gone
    policies = {row.details["policy"]["field"] for row in scene.audited() if "counts" in row.details}
    assert policies == {"idle_days", "max_messages"}
    # What was archived can be read, and is all that went; what was only begun is gone.
    archives = retention_tables.archives
    rows = scene.database.run(lambda c: c.execute(select(archives)).all())
    assert {row.state for row in rows} == {"stored"}
    assert sum(row.messages for row in rows) == 5 * TURN
    assert sorted(blob.sha256 for blob in scene.files.list(ARCHIVES)) == sorted(row.sha256 for row in rows)
    assert all(scene.files.get(ARCHIVES, row.sha256) for row in rows)
    # "of full" has another message still; the others had none.
    assert len(list(scene.files.list("default"))) == scene.count("blobs") == 1


def check_no_orphans(scene: Scene) -> None:
    """What has no foreign key hangs on something all the same."""
    files, said, waits = tables.attachments, tables.messages, tables.inbox_messages
    lonely = select(files.c.message_id).where(
        ~exists().where(said.c.thread_key == files.c.thread_key, said.c.id == files.c.message_id),
        ~exists().where(waits.c.id == files.c.message_id),
    )
    assert scene.database.run(lambda c: c.execute(lonely).all()) == []


@pytest.mark.timeout(900)
@pytest.mark.parametrize("deaths", [10, pytest.param(25, marks=pytest.mark.endurance)])
def test_an_erasure_that_was_killed_anywhere_goes_on(
    seeded: Scene, database_url: str, lend_database: LendDatabase, tmp_path: Path, deaths: int
) -> None:
    for name in ("idle", "full"):
        seeded.change(name, owner="ann")
    seeded.claimed("still at work", "full")
    seeded.database.close()
    template = database_url.rpartition("/")[2].partition("?")[0]
    with lend_database(template) as url:
        events = int(die(url, scene_of(url, copied(seeded, tmp_path, "count")), 0, "ann"))

    for moment in sorted(Random(11).sample(range(1, events + 1), deaths)):
        with lend_database(template) as url:
            scene = scene_of(url, copied(seeded, tmp_path, str(moment)))
            die(url, scene, moment, "ann")

            subject = Subject(tenant="default", user="ann")
            certificate = run_erasure(scene.database, scene.files, subject)

            assert certificate["threads"] == sorted([hash_of("default", "idle"), hash_of("default", "full")])
            gone = {"messages": 7 * TURN + 1, "turns": 9, "steps": 7, "threads": 2, "blobs": 2}
            assert {name: certificate["counts"][name] for name in gone} == gone
            assert certificate["digest"] == digest_of(certificate)
            assert run_erasure(scene.database, scene.files, subject) == certificate
            assert scene.row("idle") is None
            assert scene.row("full") is None
            assert len(scene.contents("held")) == 3 * TURN
            check_no_orphans(scene)
            scene.database.close()
