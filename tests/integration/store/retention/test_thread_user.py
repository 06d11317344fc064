"""Whose a thread is: what metadata says of that is read once, and archives go with all users they name."""

import io
import json
import zipfile
from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import select

from conversation.errors import FileStoreUnavailable, ThreadNotFound, ThreadUnderLegalHold
from store.audit import hash_of
from store.erasure.subject import Subject
from store.erasure.workflow import run_erasure
from store.retention import legal_holds
from store.tables.retention import ARCHIVES, archives
from store.thread_store import ThreadStore
from store.threads import repository
from tests.integration.store.scenes import TURN, Scene

pytestmark = pytest.mark.soak


def of_user(user: str) -> Subject:
    return Subject(tenant="default", user=user)


def archived(scene: Scene, *users: Any, thread: str = "t") -> None:
    """A part of an archive for each of these users whose the thread was, or nobody's."""
    scene.policy(tenant="default", max_messages=TURN, archive=True)
    for user in users:
        scene.answered(thread, 2)
        scene.change(thread, owner=user)
        scene.run()


def name(scene: Scene, thread: str, user: Any) -> None:
    """The metadata of a stored thread, saved as callers do, names a user."""
    copy = scene.thread(thread)
    copy.metadata["user"] = user
    scene.database.run(repository.save, thread=copy, new=[])


def gone(scene: Scene, thread: str = "t") -> None:
    """The thread is deleted without a further part."""
    scene.policy(tenant="default", idle_days=1)
    scene.age(40, thread)
    scene.run()
    assert scene.row(thread) is None


def parts(scene: Scene) -> Sequence[Any]:
    return scene.database.run(lambda c: c.execute(select(archives).order_by(archives.c.key)).all())


NAMES = [(42, "42"), (True, "true"), (False, "false"), (1.5, "1.5"), ("42", "42"), (2**53, str(2**53))]
each_name = pytest.mark.parametrize(("value", "user"), NAMES)


@each_name
def test_a_thread_is_erased_with_the_user_that_its_metadata_names_as_a_number_or_a_boolean(
    scene: Scene, value: Any, user: str
) -> None:
    for thread, named in (("t", value), ("other", 43), ("nobody's", None)):
        scene.answered(thread, 1)
        name(scene, thread, named)

    run_erasure(scene.database, scene.files, of_user(user))

    assert [scene.row(thread) is None for thread in ("t", "other", "nobody's")] == [True, False, False]


@each_name
def test_an_archive_names_such_a_user_by_the_hash_of_the_same_text(scene: Scene, value: Any, user: str) -> None:
    scene.answered("t", 1)
    name(scene, "t", value)
    archived(scene, user)

    assert [part.user_sha256 for part in parts(scene)] == [hash_of("default", user)]


async def test_such_a_user_is_given_their_threads(scene: Scene) -> None:
    scene.answered("t", 1)
    name(scene, "t", 42)
    target = io.BytesIO()

    async with ThreadStore(scene.settings) as store:
        await store.export_user(target, user="42")
        with pytest.raises(ThreadNotFound):
            await store.export_user(io.BytesIO(), user="4")
        await store.database.close_async()

    with zipfile.ZipFile(target) as found:
        assert json.loads(found.read("manifest.json"))["threads"] == 1


@pytest.mark.parametrize("any_database", ["postgresql"], indirect=True)
@pytest.mark.parametrize(
    "users", [(None, "ann"), ("ann", None), ("bob", "ann"), ("ann", "bob"), (None, "bob", "ann", None)]
)
def test_all_parts_of_a_thread_go_with_each_user_that_one_of_them_names(
    scene: Scene, users: Sequence[str | None]
) -> None:
    archived(scene, *users)
    gone(scene)
    archived(scene, "cleo", thread="cleo's")

    certificate = run_erasure(scene.database, scene.files, of_user("ann"))

    assert certificate["counts"]["archives"] == len(users)
    (left,) = parts(scene)
    assert left.user_sha256 == hash_of("default", "cleo")
    assert [blob.sha256 for blob in scene.files.list(ARCHIVES)] == [left.sha256]


def test_a_hold_keeps_the_archives_of_its_thread_from_a_user_whom_it_was_before(scene: Scene) -> None:
    archived(scene, "ann", "bob")
    scene.answered("ann's", 1)
    scene.change("ann's", owner="ann")
    scene.database.run(legal_holds.hold, tenant="default", thread_id="t")

    with pytest.raises(ThreadUnderLegalHold, match="'t'"):
        run_erasure(scene.database, scene.files, of_user("ann"))

    assert len(parts(scene)) == len(list(scene.files.list(ARCHIVES))) == 2
    assert len(scene.contents("ann's")) == TURN
    scene.database.run(legal_holds.release, tenant="default", thread_id="t")
    run_erasure(scene.database, scene.files, of_user("ann"))
    assert parts(scene) == []
    assert scene.row("ann's") is None


def test_a_hold_that_comes_in_the_middle_keeps_the_archives_that_are_left(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    archived(scene, "bob", "bob", "ann", "bob")
    delete = type(scene.files).delete

    def delete_then_hold(self: Any, tenant: str, sha256: str) -> None:
        delete(self, tenant, sha256)
        scene.database.run(legal_holds.hold, tenant="default", thread_id="t")

    monkeypatch.setattr(type(scene.files), "delete", delete_then_hold)
    with pytest.raises(ThreadUnderLegalHold):
        run_erasure(scene.database, scene.files, of_user("ann"))
    monkeypatch.undo()

    left = [part.sha256 for part in parts(scene) if part.state == "stored"]
    assert len(left) == len(list(scene.files.list(ARCHIVES))) == 3
    scene.database.run(legal_holds.release, tenant="default", thread_id="t")
    certificate = run_erasure(scene.database, scene.files, of_user("ann"))
    assert certificate["counts"]["archives"] == 4
    assert parts(scene) == []


@pytest.mark.parametrize("by", ["retention", "program"])
async def test_what_was_archived_before_the_thread_had_a_user_is_the_users_once_the_thread_is_gone(
    scene: Scene, by: str
) -> None:
    archived(scene, None)
    scene.change(owner="ann")
    if by == "retention":
        scene.policy(tenant="default", idle_days=1)
        scene.age(40)
        scene.run()
    else:
        async with ThreadStore(scene.settings) as store:
            assert await store.delete_thread("t")
            await store.database.close_async()
    assert scene.row() is None
    assert len(parts(scene)) >= 1

    run_erasure(scene.database, scene.files, of_user("ann"))

    assert parts(scene) == []
    assert list(scene.files.list(ARCHIVES)) == []


def test_archives_of_one_thread_are_found_again_when_the_erasure_breaks_off_among_them(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    archived(scene, "ann", None, None)
    # Written by a release that did not enter the user: only one of them names her.
    nameless = archives.update().where(archives.c.key != parts(scene)[0].key).values(user_sha256=None)
    gone(scene)
    scene.database.run(lambda c: c.execute(nameless))
    delete = type(scene.files).delete
    calls: list[str] = []

    def delete_once(self: Any, tenant: str, sha256: str) -> None:
        calls.append(sha256)
        if len(calls) > 1:
            raise FileStoreUnavailable("it is away")
        delete(self, tenant, sha256)

    monkeypatch.setattr(type(scene.files), "delete", delete_once)
    with pytest.raises(FileStoreUnavailable):
        run_erasure(scene.database, scene.files, of_user("ann"))
    monkeypatch.undo()
    assert len(parts(scene)) > 0

    run_erasure(scene.database, scene.files, of_user("ann"))

    assert parts(scene) == []


async def test_what_a_program_deletes_leaves_its_archives_and_an_erasure_takes_them(scene: Scene) -> None:
    archived(scene, "ann")

    async with ThreadStore(scene.settings) as store:
        assert await store.delete_thread("t")
        assert len(parts(scene)) == 1
        imported = await store.restore_archive("t")
        assert imported.messages == TURN
        await store.erase(thread_id="t")
        await store.database.close_async()

    assert parts(scene) == []
