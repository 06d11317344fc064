"""Files that are erased in their grace, or while they are made ready: nothing of them stays behind."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import select, text

from conversation.attachment import Attachment
from conversation.ids import new_id
from conversation.prepared_file import Picture, PreparationResult
from store import tables
from store.erasure.subject import Subject
from store.erasure.workflow import run_erasure
from store.files import garbage_collection, prepared_rows, uploads
from store.files.ingest import FileIngest
from store.files.prepare import FilePreparer
from store.retention import delete_thread, purge
from tests.integration.store.scenes import TURN, Scene

pytestmark = pytest.mark.soak

SOURCE = str(Attachment(filename="a", content=b"a picture").sha256)
SMALL = Attachment(filename="small.png", content=b"its thumbnail", media_type="image/png")
MADE = PreparationResult(text="400 x 300 pixels", thumbnail=Picture(b"its thumbnail", "image/png", "40 x 30 pixels"))
THREAD = Subject(tenant="default", thread_id="t")
ANN = Subject(tenant="default", user="ann")
TENANT = Subject(tenant="default", whole_tenant=True)


def erase(scene: Scene, subject: Subject) -> None:
    run_erasure(scene.database, scene.files, subject)


def dropped(scene: Scene, by: str) -> None:
    """A thread of ann's lost its file a while ago, in one of these ways; the file's grace lasts."""
    scene.answered("t", 1, file=None if by == "purge" else b"a picture")
    scene.change("t", owner="ann")
    if by == "purge":
        turn = scene.send("never mind", "t", file=b"a picture")
        long_ago = datetime.now(UTC) - timedelta(days=40)
        cancelled = tables.turns.update().where(tables.turns.c.id == turn)
        cancelled = cancelled.values(state="cancelled", finished_at=long_ago)
        scene.database.run(lambda c: c.execute(cancelled))
        scene.database.run(purge.purge, days=30, after=purge.BEGINNING)
    elif by == "batch":
        scene.answered("t", 1)
        scene.policy(tenant="default", max_messages=TURN)
        scene.run(blob_grace_days=14)
    elif by == "retention":
        scene.age(40, "t")
        scene.policy(tenant="default", idle_days=30)
        scene.run(blob_grace_days=14)
    else:
        scene.database.run(delete_thread.delete_thread, tenant="default", thread_id="t")
    assert scene.count("attachments") == 0
    assert stored(scene) == [SOURCE]


@pytest.mark.parametrize("subject", [ANN, THREAD], ids=["user", "thread"])
@pytest.mark.parametrize("by", ["batch", "retention", "program", "purge"])
def test_a_file_that_was_dropped_before_goes_at_once_though_its_grace_lasts(
    scene: Scene, by: str, subject: Subject
) -> None:
    dropped(scene, by)
    named = Attachment(filename="ann-lee.png", content=b"a picture", media_type="image/png")
    scene.database.run(uploads.create, upload_id=new_id(), tenant="default", file=named, expires_seconds=900)

    certificate = run_erasure(scene.database, scene.files, subject)

    assert certificate["counts"]["blobs"] == 1
    assert stored(scene) == []
    assert [scene.count(name) for name in ("blobs", "uploads", "dropped_files")] == [0, 0, 0]


@pytest.mark.parametrize("by", ["batch", "retention", "program"])
def test_a_dropped_file_that_somebody_else_has_stays_and_does_not_say_who_had_it(scene: Scene, by: str) -> None:
    dropped(scene, by)
    scene.answered("bob", 1, file=b"a picture")

    erase(scene, ANN)

    assert scene.files.get("default", SOURCE) == b"a picture"
    assert scene.count("dropped_files") == 0


@pytest.mark.parametrize("subject", [ANN, THREAD], ids=["user", "thread"])
def test_a_thumbnail_in_its_grace_goes_though_its_file_was_collected_before(scene: Scene, subject: Subject) -> None:
    kept(scene)
    scene.database.run(write())
    scene.change("t", owner="ann")
    scene.database.run(delete_thread.delete_thread, tenant="default", thread_id="t")
    long_ago = datetime.now(UTC) - timedelta(days=40)
    over = tables.blobs.update().where(tables.blobs.c.sha256 == SOURCE).values(unreferenced_since=long_ago)
    scene.database.run(lambda c: c.execute(over))
    scene.run(blob_grace_days=14)
    assert stored(scene) == [SMALL.sha256]

    erase(scene, subject)

    assert stored(scene) == []
    assert scene.count("blobs") == scene.count("dropped_files") == 0


@pytest.mark.parametrize("thumbnail", [b"its thumbnail", b"thumb 1"])
def test_a_thumbnail_goes_also_when_it_was_looked_at_before_its_file(scene: Scene, thumbnail: bytes) -> None:
    """Files are taken in the order of their hashes, and what is made of one may come before it."""
    small = Attachment(filename="small.png", content=thumbnail, media_type="image/png")
    assert (str(small.sha256) < SOURCE) == (thumbnail == b"its thumbnail")
    scene.answered("t", 1, file=b"a picture")
    scene.change("t", owner="ann")
    FileIngest(scene.database, scene.files).store("default", [small])
    prepared = PreparationResult(text="x", thumbnail=Picture(thumbnail, "image/png", "x"))
    made = {"thumbnail": str(small.sha256)}
    write = partial(prepared_rows.write, tenant="default", sha256=SOURCE, prepared=prepared, rendition_hashes=made)
    scene.database.run(write)

    erase(scene, ANN)

    assert stored(scene) == []
    assert scene.count("blobs") == 0


def test_who_dropped_a_file_that_others_go_on_using_is_forgotten_after_its_grace(scene: Scene) -> None:
    """Else a logo that is on every thread would have a row for each thread that ever was."""
    dropped(scene, "program")
    scene.answered("bob", 1, file=b"a picture")
    long_ago = datetime.now(UTC) - timedelta(days=40)
    scene.database.run(lambda c: c.execute(tables.blobs.update().values(unreferenced_since=long_ago)))

    scene.run(blob_grace_days=14)

    assert stored(scene) == [SOURCE]
    assert scene.count("dropped_files") == 0


def test_dropped_files_of_others_stay(scene: Scene) -> None:
    dropped(scene, "program")

    erase(scene, Subject(tenant="default", user="bob"))
    erase(scene, Subject(tenant="acme", user="ann"))

    assert stored(scene) == [SOURCE]
    assert scene.count("dropped_files") == 1


def test_what_says_who_dropped_a_file_goes_with_it_when_its_grace_is_over(scene: Scene) -> None:
    dropped(scene, "program")

    scene.run()

    assert stored(scene) == []
    assert scene.count("dropped_files") == 0


async def make(scene: Scene, meanwhile: Callable[[], None]) -> None:
    """A worker makes the file ready; `meanwhile` is done when it has read the bytes."""

    async def read(_content: bytes, _media_type: str) -> PreparationResult:
        meanwhile()
        return MADE

    await FilePreparer(scene.files, scene.database, read).prepare("default", SOURCE)
    await scene.database.close_async()


def stored(scene: Scene) -> list[str]:
    return [blob.sha256 for blob in scene.files.list("default")]


@pytest.mark.parametrize("subject", [THREAD, TENANT], ids=["thread", "tenant"])
async def test_nothing_is_left_of_a_file_that_is_erased_while_a_worker_reads_it(scene: Scene, subject: Subject) -> None:
    scene.answered("t", 1, file=b"a picture")

    await make(scene, partial(erase, scene, subject))

    assert scene.count("blobs") == scene.count("renditions") == 0
    assert stored(scene) == []


@pytest.mark.parametrize("subject", [THREAD, TENANT], ids=["thread", "tenant"])
async def test_nothing_is_left_of_one_that_is_erased_when_its_thumbnail_was_just_stored(
    scene: Scene, subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.answered("t", 1, file=b"a picture")
    put = type(scene.files).put

    def put_and_erase(self: Any, tenant: str, sha256: str, *rest: Any) -> None:
        erase(scene, subject)
        put(self, tenant, sha256, *rest)

    monkeypatch.setattr(type(scene.files), "put", put_and_erase)
    await make(scene, lambda: None)

    assert scene.count("blobs") == scene.count("renditions") == 0
    assert stored(scene) == []


async def test_a_thumbnail_that_somebody_else_has_stays_when_its_file_is_erased_meanwhile(scene: Scene) -> None:
    scene.answered("t", 1, file=b"a picture")
    scene.answered("bob", 1, file=b"its thumbnail")

    await make(scene, partial(erase, scene, THREAD))

    assert stored(scene) == [SMALL.sha256]
    assert scene.files.get("default", str(SMALL.sha256)) == b"its thumbnail"


def test_an_erasure_that_marks_the_file_is_waited_for(postgres_scene: Scene) -> None:
    scene = postgres_scene
    kept(scene)

    with ThreadPoolExecutor() as pool, scene.database.engine.begin() as connection:
        connection.execute(tables.attachments.delete())
        garbage_collection.mark_now(connection, ("default", SOURCE))
        writing = pool.submit(scene.database.run, write())
        wait_until_blocked(scene)
        connection.commit()
        assert writing.result(10) == [SMALL.sha256]

    assert scene.count("renditions") == 0
    assert states(scene) == {SOURCE: "deleting", str(SMALL.sha256): "deleting"}


def test_an_erasure_that_comes_second_finds_what_was_made(postgres_scene: Scene) -> None:
    scene = postgres_scene
    kept(scene)
    scene.database.run(lambda c: c.execute(tables.attachments.delete()))

    with ThreadPoolExecutor() as pool, scene.database.engine.begin() as connection:
        assert write()(connection) == ()
        mark = partial(garbage_collection.mark_now, address=("default", SOURCE))
        marking = pool.submit(scene.database.run, mark)
        wait_until_blocked(scene)
        connection.commit()
        assert marking.result(10) == {SMALL.sha256}


def kept(scene: Scene) -> None:
    scene.answered("t", 1, file=b"a picture")
    FileIngest(scene.database, scene.files).store("default", [SMALL])


def write() -> Any:
    made = {"thumbnail": str(SMALL.sha256)}
    return partial(prepared_rows.write, tenant="default", sha256=SOURCE, prepared=MADE, rendition_hashes=made)


def states(scene: Scene) -> dict[str, str]:
    named = select(tables.blobs.c.sha256, tables.blobs.c.state)
    return scene.database.run(lambda c: {row.sha256: row.state for row in c.execute(named)})


def wait_until_blocked(scene: Scene) -> None:
    """Until somebody waits for a lock of another transaction."""
    waiting = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    pause = threading.Event()
    for _ in range(500):
        if scene.database.run(lambda c: c.execute(waiting).scalar_one()):
            return
        pause.wait(0.02)
    pytest.fail("nobody waits for a lock")
