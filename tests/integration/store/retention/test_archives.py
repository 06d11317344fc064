"""Archives: read back before anything is deleted, and read in again as the thread that was."""

import gzip
import hashlib
import json
import threading
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from conversation.errors import FileNotStored, FileStoreUnavailable, InvalidInput, ThreadNotFound
from store import tables
from store.audit import hash_of
from store.doctor import Examination, Note, Scope
from store.retention import archive, legal_holds
from store.tables.retention import ARCHIVES, archives
from store.thread_store import ThreadStore
from tasks.jobs.retention import STORE_FAILURES_MAX
from tests.integration.store.scenes import TURN, Scene

pytestmark = pytest.mark.soak


def path_of(scene: Scene, sha256: str) -> Path:
    return Path(scene.settings.file_store_url) / ARCHIVES / "sha256" / sha256[:2] / sha256[2:]


def due(scene: Scene, **rule: float) -> None:
    scene.answered(turns_=4)
    scene.summary(keep=TURN)
    scene.age(40)
    scene.policy(tenant="default", archive=True, **(rule or {"idle_days": 30}))


async def test_a_thread_that_was_archived_is_restored_as_it_was(scene: Scene) -> None:
    due(scene)
    before = scene.thread()

    done = scene.run()

    assert (done.archived, done.threads, scene.row()) == (1, 1, None)
    async with ThreadStore(scene.settings) as store:
        imported = await store.restore_archive("t")
        await store.database.close_async()
    assert (imported.messages, imported.turns, imported.summaries) == (4 * TURN, 4, 1)
    after = scene.thread()
    assert [message.to_json() for message in after.messages] == [m.to_json() for m in before.messages]
    assert after.updated_at == before.updated_at
    assert scene.row().summary_id is not None


async def test_parts_are_put_together_in_order(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "PART_MAX_MESSAGES", 5)
    due(scene, max_messages=TURN)
    before = scene.thread()

    done = scene.run()

    assert done.archived == 3
    async with ThreadStore(scene.settings) as store:
        with pytest.raises(InvalidInput, match="stored already"):
            await store.restore_archive("t")
        imported = await store.restore_archive("t", as_id="again")
        await store.database.close_async()
    assert (imported.messages, imported.turns) == (3 * TURN, 3)
    restored = [message.content for message in scene.thread("again").messages]
    assert restored == [message.content for message in before.messages][: 3 * TURN]


def test_a_store_that_is_away_is_soon_left_alone_and_stops_nothing_else(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    archived = [f"t{number}" for number in range(STORE_FAILURES_MAX + 2)]
    for thread in [*archived, "last"]:
        scene.answered(thread, 1)
        scene.age(40, thread)
    scene.policy(tenant="default", idle_days=30)
    for thread in archived:
        scene.policy(tenant="default", thread_id=thread, archive=True)
    asked = []

    def away(*_: object) -> None:
        asked.append(1)
        raise FileStoreUnavailable("no answer")

    monkeypatch.setattr(type(scene.files), "put", away)

    done = scene.run(blob_grace_days=7)

    assert (len(asked), done.failed) == (STORE_FAILURES_MAX, STORE_FAILURES_MAX)
    assert (done.threads, scene.row("last")) == (1, None)


async def test_a_text_with_ends_of_lines_of_all_kinds_comes_back(scene: Scene) -> None:
    scene.send("one\u2028two\u2029three\x85four\r\nfive\x1csix")
    said = scene.claimed().window[0].content
    scene.change(lease_owner=None)
    scene.database.run(lambda c: c.execute(tables.turns.update().values(state="cancelled")))
    scene.age(40)
    scene.policy(tenant="default", archive=True, idle_days=30)
    assert scene.run().archived == 1

    async with ThreadStore(scene.settings) as store:
        await store.restore_archive("t")
        await store.database.close_async()

    assert scene.contents()[0] == said


def test_an_object_that_cannot_be_discarded_stops_no_other_thread(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    due(scene)
    scene.answered("other", 1)
    scene.age(40, "other")
    write = archive.write

    def write_then_hold(files: Any, part: archive.Part) -> None:
        write(files, part)
        if part.thread_key == scene.key():
            scene.change(legal_hold=True)

    def away(*_: object) -> None:
        raise FileStoreUnavailable("away")

    monkeypatch.setattr(archive, "write", write_then_hold)
    monkeypatch.setattr(type(scene.files), "delete", away)

    done = scene.run(blob_grace_days=7)

    assert (done.failed, done.threads, scene.row("other")) == (1, 1, None)


def test_an_archive_that_is_damaged_on_its_way_deletes_nothing(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    due(scene)
    stored = type(scene.files).put

    def put_and_damage(self: object, tenant: str, sha256: str, content: bytes, media_type: str) -> None:
        stored(self, tenant, sha256, content, media_type)  # type: ignore[arg-type]
        path_of(scene, sha256).write_bytes(content[:-1] + b"?")

    with monkeypatch.context() as damaged:
        damaged.setattr(type(scene.files), "put", put_and_damage)
        done = scene.run()

    assert (done.failed, done.messages, done.archived, done.threads) == (1, 0, 0, 0)
    assert len(scene.seqs()) == 4 * TURN
    assert scene.audited("retention.messages_deleted") == []
    # The next run makes it anew.
    assert scene.run().messages == 4 * TURN
    assert scene.count("archives") == len(list(scene.files.list(ARCHIVES))) == 1


def test_a_hold_between_archive_and_deletion_keeps_the_messages(scene: Scene) -> None:
    due(scene)
    scene.cut()
    part = scene.database.run(archive.draft, thread_key=scene.key())
    assert part is not None
    archive.write(scene.files, part)

    scene.change(legal_hold=True)

    assert scene.database.run(archive.remove_archived_batch, part=part) is None
    assert len(scene.seqs()) == 4 * TURN


def test_an_archive_names_its_thread_and_user_by_hash_alone(scene: Scene) -> None:
    due(scene)
    scene.change(owner="ann")

    scene.run()

    row = scene.database.run(lambda c: c.execute(archives.select()).one())
    assert (row.thread_sha256, row.user_sha256) == (hash_of("default", "t"), hash_of("default", "ann"))
    content = scene.files.get(ARCHIVES, row.sha256)
    assert (hashlib.sha256(content).hexdigest(), len(content)) == (row.sha256, row.size)
    lines = [json.loads(line) for line in gzip.decompress(content).splitlines()]
    assert [line["kind"] for line in lines[:2]] == ["thread", "summary"]
    assert lines[-1] == {"kind": "end", "lines": len(lines) - 1}


def test_a_part_that_another_run_discarded_deletes_nothing(scene: Scene) -> None:
    """Two runs at once: the one that comes later takes the object of the first for one that was left."""
    due(scene)
    scene.cut()
    part = scene.database.run(archive.draft, thread_key=scene.key())
    assert part is not None
    archive.write(scene.files, part)

    assert scene.database.run(archive.discard, archive_key=part.key)

    assert scene.database.run(archive.remove_archived_batch, part=part) is None
    assert len(scene.seqs()) == 4 * TURN
    assert scene.run().archived == 1
    assert not scene.database.run(archive.discard, archive_key=part.key + 1)
    assert scene.count("archives") == len(list(scene.files.list(ARCHIVES))) == 1


def test_what_was_put_aside_is_removed_when_its_thread_is_held_meanwhile(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    due(scene)
    write = archive.write

    def write_then_hold(files: Any, part: archive.Part) -> None:
        write(files, part)
        scene.change(legal_hold=True)

    monkeypatch.setattr(archive, "write", write_then_hold)

    done = scene.run()

    assert (done.archived, done.messages, len(scene.seqs())) == (0, 0, 4 * TURN)
    assert scene.count("archives") == len(list(scene.files.list(ARCHIVES))) == 0


def test_what_a_run_that_died_put_aside_is_removed_also_when_its_thread_is_held(scene: Scene) -> None:
    due(scene)
    scene.cut()
    part = scene.database.run(archive.draft, thread_key=scene.key())
    assert part is not None
    archive.write(scene.files, part)
    scene.database.run(legal_holds.hold, tenant="default", thread_id="t")
    scene.run()
    # Somebody may be writing it just now.
    assert scene.count("archives") == 1

    long_ago = datetime.now(UTC) - timedelta(seconds=archive.ABANDONED_AFTER_SECONDS + 1)
    scene.database.run(lambda c: c.execute(archives.update().values(created_at=long_ago)))
    scene.run()

    assert scene.count("archives") == len(list(scene.files.list(ARCHIVES))) == 0
    assert len(scene.contents()) == 4 * TURN


async def test_a_system_message_that_was_carried_over_comes_back_once(scene: Scene) -> None:
    scene.answered(turns_=1)
    scene.say_system("Answer in French.")
    scene.answered(turns_=4)
    scene.summary(keep=TURN)
    scene.policy(tenant="default", max_messages=TURN, keep_summary=True, archive=True)
    scene.run()
    assert scene.count("thread_context") == 1

    async with ThreadStore(scene.settings) as store:
        imported = await store.restore_archive("t", as_id="again")
        await store.database.close_async()

    assert imported.context == 0
    assert "Answer in French." in scene.contents("again")


async def test_each_of_the_threads_that_had_an_id_can_be_restored(scene: Scene) -> None:
    scene.policy(tenant="default", idle_days=30, archive=True)
    for turns in (1, 2, 3):
        scene.answered(turns_=turns)
        scene.age(40)
        scene.run()

    async with ThreadStore(scene.settings) as store:
        listed = await store.list_archives("t")
        assert [(each.number, each.messages) for each in listed] == [(1, TURN), (2, 2 * TURN), (3, 3 * TURN)]
        assert listed[0].first_at <= listed[0].last_at < listed[1].first_at
        assert await store.list_archives("other") == []
        restored = [(await store.restore_archive("t", as_id=f"t{nth}", nth=nth)).messages for nth in (1, 2, None)]
        for nth in (0, 4, -1):
            with pytest.raises(InvalidInput, match="nth"):
                await store.restore_archive("t", as_id="none", nth=nth)
        await store.database.close_async()
    assert restored == [TURN, 2 * TURN, 3 * TURN]


async def test_a_restore_leaves_the_callers_loop_free(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    due(scene)
    scene.run()
    get, on_loop = type(scene.files).get, threading.get_ident()
    threads: set[int] = set()

    def get_and_tell(self: Any, tenant: str, sha256: str) -> bytes:
        threads.add(threading.get_ident())
        return bytes(get(self, tenant, sha256))

    monkeypatch.setattr(type(scene.files), "get", get_and_tell)
    async with ThreadStore(scene.settings) as store:
        await store.restore_archive("t")
        await store.database.close_async()

    assert threads
    assert on_loop not in threads


async def test_what_was_never_archived_cannot_be_restored(scene: Scene) -> None:
    async with ThreadStore(scene.settings) as store:
        with pytest.raises(ThreadNotFound, match="no archive"):
            await store.restore_archive("t")
        await store.database.close_async()


async def test_a_part_that_is_gone_stops_the_restore_before_anything_is_stored(scene: Scene) -> None:
    due(scene)
    scene.run()
    for sha256 in [blob.sha256 for blob in scene.files.list(ARCHIVES)]:
        path_of(scene, sha256).unlink()

    async with ThreadStore(scene.settings) as store:
        with pytest.raises(FileNotStored):
            await store.restore_archive("t")
        await store.database.close_async()
    assert scene.row() is None


def archive_findings(scene: Scene, **scope: Any) -> list[Note]:
    only = ["archive-without-object"]
    examination = Examination(database=scene.database, files=scene.files, only=only, scope=Scope(**scope))
    (result,) = examination.run()
    assert result.problem is None
    return result.notes


def test_the_doctor_names_an_archive_whose_object_is_missing(scene: Scene) -> None:
    for thread in ("a", "b"):
        scene.answered(thread, 1)
        scene.age(40, thread)
    scene.policy(tenant="default", idle_days=30, archive=True)
    scene.run()
    assert archive_findings(scene) == []
    rows = scene.database.run(lambda c: c.execute(archives.select().order_by(archives.c.key)).all())
    path_of(scene, rows[0].sha256).unlink()

    (note,) = archive_findings(scene)

    assert note.finding.ids == {"tenant": "default", "archive": rows[0].key, "thread": rows[0].thread_sha256}
    assert len(archive_findings(scene, tenant="default")) == 1
    assert archive_findings(scene, tenant="acme") == []


def test_an_archive_that_is_being_written_is_no_finding(scene: Scene) -> None:
    due(scene)
    scene.cut()
    draft = partial(archive.draft, thread_key=scene.key())
    assert scene.database.run(draft) is not None

    assert archive_findings(scene) == []


async def test_a_part_of_a_thread_is_restored_with_the_summary_of_more(scene: Scene) -> None:
    due(scene, max_messages=2 * TURN)

    assert scene.run().archived == 1

    async with ThreadStore(scene.settings) as store:
        imported = await store.restore_archive("t", as_id="part")
        [summary] = await store.list_summaries("part")
        await store.database.close_async()
    assert (imported.messages, scene.row("part").last_seq) == (2 * TURN, 4 * TURN)
    assert (summary.to_seq, summary.is_current) == (3 * TURN, True)


def test_a_thread_that_cannot_be_read_is_not_archived_and_holds_up_no_other(scene: Scene) -> None:
    due(scene)
    scene.answered("other")
    scene.age(40, "other")
    broken = update(tables.messages).where(tables.messages.c.thread_key == scene.key())
    scene.database.run(lambda connection: connection.execute(broken.values(parts=[{"type": "hologram"}])))

    done = scene.run()

    assert (done.failed, done.threads) == (1, 1)
    assert (scene.row() is None, scene.row("other")) == (False, None)
