"""Files that are made ready while they are erased: nothing that was made of them stays behind."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from sqlalchemy import select, text

from conversation.attachment import Attachment
from conversation.prepared import Picture, Prepared
from store import blob_gc, preparations, tables
from store.erasure.run import run_erasure
from store.erasure.subject import Subject
from store.keeping import Keeper
from store.making import FileMaker
from tests.integration.retention.scenes import Scene

SOURCE = str(Attachment(filename="a", content=b"a picture").sha256)
SMALL = Attachment(filename="small.png", content=b"its thumbnail", mime_type="image/png")
MADE = Prepared(text="400 x 300 pixels", thumbnail=Picture(b"its thumbnail", "image/png", "40 x 30 pixels"))
THREAD = Subject(tenant="default", thread_id="t")
TENANT = Subject(tenant="default", everything=True)


def erase(scene: Scene, subject: Subject) -> None:
    run_erasure(scene.database, scene.files, subject)


async def make(scene: Scene, meanwhile: Callable[[], None]) -> None:
    """A worker makes the file ready; `meanwhile` is done when it has read the bytes."""

    async def read(_content: bytes, _media_type: str) -> Prepared:
        meanwhile()
        return MADE

    await FileMaker(scene.files, scene.database, read).make("default", SOURCE)
    await scene.database.close_async()


def stored(scene: Scene) -> list[str]:
    return [blob.sha256 for blob in scene.files.list("default")]


@pytest.mark.parametrize("subject", [THREAD, TENANT], ids=["thread", "tenant"])
async def test_nothing_is_left_of_a_file_that_is_erased_while_a_worker_reads_it(
    scene: Scene, subject: Subject
) -> None:
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


async def test_a_thumbnail_that_somebody_else_has_stays_when_its_file_is_erased_meanwhile(
    scene: Scene,
) -> None:
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
        blob_gc.mark_now(connection, ("default", SOURCE))
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
        mark = partial(blob_gc.mark_now, address=("default", SOURCE))
        marking = pool.submit(scene.database.run, mark)
        wait_until_blocked(scene)
        connection.commit()
        assert marking.result(10) == {SMALL.sha256}


def kept(scene: Scene) -> None:
    scene.answered("t", 1, file=b"a picture")
    Keeper(scene.database, scene.files).keep("default", [SMALL])


def write() -> Any:
    made = {"thumbnail": str(SMALL.sha256)}
    return partial(preparations.write, tenant="default", sha256=SOURCE, prepared=MADE, made=made)


def states(scene: Scene) -> dict[str, str]:
    named = select(tables.blobs.c.sha256, tables.blobs.c.state)
    return scene.database.run(lambda c: {row.sha256: row.state for row in c.execute(named)})


def wait_until_blocked(scene: Scene) -> None:
    """Until somebody waits for a lock of another transaction."""
    waiting = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND wait_event_type = 'Lock'"
    )
    pause = threading.Event()
    for _ in range(500):
        if scene.database.run(lambda c: c.execute(waiting).scalar_one()):
            return
        pause.wait(0.02)
    pytest.fail("nobody waits for a lock")
