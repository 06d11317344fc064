"""Erasure: nothing is left of a person in any table or object, nobody else loses anything, all is counted."""

import gzip
import io
import json
import threading
import zipfile
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from conversation.attachment import Attachment
from conversation.errors import InvalidInput, ThreadNotFound, ThreadUnderLegalHold
from conversation.ids import new_id
from conversation.message import Message
from conversation.thread import Thread
from store import tables
from store.audit import hash_of
from store.erasure import steps
from store.erasure.certificate import digest_of
from store.erasure.export import ExportOutcome
from store.erasure.sent_turns import select_shared_keys
from store.erasure.subject import Subject, select_thread_keys
from store.erasure.workflow import run_erasure
from store.files import uploads
from store.files.ingest import FileIngest
from store.retention import deletion, legal_holds
from store.tables.retention import ARCHIVES
from store.thread_store import ThreadStore
from store.threads import repository
from tests.integration.store.retention.test_plans import plan_of
from tests.integration.store.scenes import TURN, Scene

#: Stands in everything that is said in ann's threads, and in nothing else.
MARK = "heron-4711"
ANN = Subject(tenant="default", user=f"ann-{MARK}")


def seed(scene: Scene) -> None:
    """Two threads of ann's, one archived in part; one of bob's, with a file that both have."""
    for thread, tenant, mark in (
        (f"ann-{MARK}-1", "default", MARK),
        (f"ann-{MARK}-2", "default", MARK),
        ("bob", "default", "bob"),
        ("ann", "acme", "acme"),
    ):
        person = Thread(thread, tenant=tenant, title=mark, metadata={"user": f"ann-{mark}", "note": mark})
        person.set_context("about", mark)
        scene.database.run(repository.save, thread=person, new=[])
        options: dict[str, Any] = {"metadata": {"from": mark}}
        for number in range(4):
            file = b"shared" if number == 3 else f"{mark} of {thread} {number}".encode()
            scene.answered(thread, 1, tenant=tenant, file=file, **options)
        note = Thread(thread, tenant=tenant, messages=[Message(role="user", content=f"{mark} noted")])
        scene.database.run(repository.save, thread=note, new=note.messages)
    scene.summary(f"ann-{MARK}-1", keep=5)
    scene.change(f"ann-{MARK}-1", agent="a")
    scene.policy(tenant="default", thread_id=f"ann-{MARK}-2", max_messages=2 * TURN, archive=True)
    scene.run()
    scene.send(f"{MARK} waits", f"ann-{MARK}-1", file=f"{MARK} inbox".encode(), idempotency_key=f"k-{MARK}")
    scene.claimed(f"{MARK} at work", f"ann-{MARK}-2")
    mended = tables.audit.insert().values(
        tenant="default", thread_id=f"ann-{MARK}-1", action="doctor.x",
        created_at=scene.thread("bob").created_at,
        details={"thread": f"ann-{MARK}-1", "done": "mended"},
    )  # fmt: skip
    scene.database.run(lambda c: c.execute(mended))


def everything(scene: Scene) -> str:
    """All rows of all tables, and all objects, as one text."""

    def read(connection: Any) -> str:
        return "\n".join(
            f"{table.name}: {tuple(row)!r}"
            for table in tables.metadata.sorted_tables
            for row in connection.execute(select(table))
        )

    paths = [path for path in Path(scene.settings.file_store_url).rglob("*") if path.is_file()]
    contents = [path.read_bytes() for path in paths]
    plain = [gzip.decompress(each) if each[:2] == b"\x1f\x8b" else each for each in contents]
    return scene.database.run(read) + "\n" + "\n".join(each.decode() for each in plain)


def of_others(scene: Scene) -> list[Any]:
    return [
        scene.database.run(repository.load, tenant=tenant, thread_id=thread).to_json()
        for tenant, thread in (("default", "bob"), ("acme", "ann"))
    ]


def test_nothing_is_left_of_a_person_and_nobody_else_loses_anything(scene: Scene) -> None:
    seed(scene)
    others, before = of_others(scene), everything(scene)
    assert before.count(MARK) > 30
    assert list(scene.files.list(ARCHIVES)) != []

    certificate = run_erasure(scene.database, scene.files, ANN)

    assert MARK not in everything(scene)
    assert list(scene.files.list(ARCHIVES)) == []
    assert of_others(scene) == others
    shared = [file.sha256 for m in scene.thread("bob").messages for file in m.attachments]
    assert all(scene.files.get("default", str(sha256)) for sha256 in shared)
    assert scene.count("turns") == 8
    counts = certificate["counts"]
    assert (counts["threads"], counts["archives"], counts["summaries"], counts["context"]) == (2, 1, 1, 2)
    assert counts["policies"] == 1
    # Three files and one in the inbox; those of the other thread went with its archive's messages.
    assert counts["blobs"] == 3 + 1


def test_the_certificate_is_whole_and_stands_in_the_audit(scene: Scene) -> None:
    seed(scene)

    certificate = run_erasure(scene.database, scene.files, ANN)

    assert certificate["subject"] == {"kind": "user", "sha256": hash_of("default", ANN.user or "")}
    assert certificate["threads"] == sorted(hash_of("default", f"ann-{MARK}-{n}") for n in (1, 2))
    assert certificate["digest"] == digest_of(certificate)
    assert digest_of(certificate | {"tenant": "acme"}) != certificate["digest"]
    (row,) = scene.audited("erasure.finished")
    assert row.details == certificate
    assert run_erasure(scene.database, scene.files, ANN) == certificate
    assert len(scene.audited("erasure.finished")) == 1


def test_one_thread_is_erased_alone(scene: Scene) -> None:
    seed(scene)

    run_erasure(scene.database, scene.files, Subject(tenant="default", thread_id=f"ann-{MARK}-1"))

    assert scene.row(f"ann-{MARK}-1") is None
    assert scene.row(f"ann-{MARK}-2") is not None
    assert f"ann-{MARK}-1" not in everything(scene)


def test_what_retention_archived_and_deleted_before_is_erased_with_its_user(scene: Scene) -> None:
    seed(scene)
    scene.database.run(
        lambda c: c.execute(
            tables.turns.update()
            .where(tables.turns.c.state.in_(["queued", "running"]))
            .values(state="cancelled", finished_at=tables.turns.c.created_at)
        )
    )
    for number in (1, 2):
        scene.age(40, f"ann-{MARK}-{number}")
    scene.change(f"ann-{MARK}-1", lease_owner=None)
    scene.change(f"ann-{MARK}-2", lease_owner=None)
    scene.run(retention_idle_days=30, retention_archive=True)
    assert (scene.row(f"ann-{MARK}-1"), scene.row(f"ann-{MARK}-2")) == (None, None)

    certificate = run_erasure(scene.database, scene.files, ANN)

    assert certificate["counts"]["archives"] == 3
    assert list(scene.files.list(ARCHIVES)) == []
    assert scene.count("archives") == 0


def test_a_hold_refuses_an_erasure_before_anything_is_touched(scene: Scene) -> None:
    seed(scene)
    held = f"ann-{MARK}-2"
    scene.database.run(legal_holds.hold, tenant="default", thread_id=held)
    before = scene.counts()

    with pytest.raises(ThreadUnderLegalHold, match=held) as refused:
        run_erasure(scene.database, scene.files, ANN)

    assert refused.value.thread_ids == (held,)
    assert scene.counts() == before
    assert scene.row(f"ann-{MARK}-1").history_starts_after == 0


def test_a_hold_in_the_middle_of_an_erasure_stops_it_and_shows_what_is_left(scene: Scene) -> None:
    scene.answered(turns_=3)
    subject = Subject(tenant="default", thread_id="t")
    erasure = scene.database.run(steps.begin, subject=subject)
    key = scene.key()
    scene.database.run(steps.lock_out_thread, erasure_id=erasure, subject=subject, key=key)

    def one_turn(connection: Any) -> None:
        batch = deletion.lock_next_batch(connection, key, erasure_id=erasure, limit=TURN)
        assert batch is not None
        deletion.remove_batch(connection, batch)

    scene.database.run(one_turn)

    scene.database.run(legal_holds.hold, tenant="default", thread_id="t")

    with pytest.raises(ThreadUnderLegalHold):
        run_erasure(scene.database, scene.files, subject)
    assert scene.contents()[0] == "question 2"
    scene.database.run(legal_holds.release, tenant="default", thread_id="t")
    certificate = run_erasure(scene.database, scene.files, subject)
    assert certificate["counts"]["messages"] == 3 * TURN


def test_retention_leaves_an_erasure_to_itself(scene: Scene) -> None:
    scene.answered(turns_=3)
    subject = Subject(tenant="default", thread_id="t")
    erasure = scene.database.run(steps.begin, subject=subject)
    scene.database.run(steps.lock_out_thread, erasure_id=erasure, subject=subject, key=scene.key())

    assert scene.run().messages == 0

    assert run_erasure(scene.database, scene.files, subject)["counts"]["messages"] == 3 * TURN


@pytest.mark.parametrize("named", [{}, {"user": "a", "thread_id": "t"}, {"user": ""}, {"thread_id": "a b"}])
def test_who_is_to_be_erased_is_named_once(scene: Scene, named: dict[str, str]) -> None:
    with pytest.raises(InvalidInput):
        run_erasure(scene.database, scene.files, Subject(tenant="default", **named))

    assert scene.count("erasures") == 0


async def test_an_export_has_all_that_is_stored_of_a_person(scene: Scene) -> None:
    seed(scene)
    target = io.BytesIO()

    async with ThreadStore(scene.settings) as store:
        exported = await store.export_user(target, user=ANN.user)
        with pytest.raises(ThreadNotFound):
            await store.export_user(io.BytesIO(), user="nobody")
        await store.database.close_async()

    with zipfile.ZipFile(target) as found:
        manifest = json.loads(found.read("manifest.json"))
        texts = {name: found.read(name) for name in found.namelist()}
    assert (exported, manifest["threads"], manifest["user"]) == (ExportOutcome(2), 2, ANN.user)
    kinds = [json.loads(line)["kind"] for line in texts["threads/0001.jsonl"].splitlines()]
    assert {"thread", "context", "summary", "turn", "message", "end"} == set(kinds)
    work = [json.loads(line)["row"] for line in texts["threads/0001.work.jsonl"].splitlines()]
    assert set(work) == {"turn", "step", "input"}
    assert b"doctor.x" in texts["threads/0001.audit.jsonl"]
    files = [json.loads(line) for line in texts["files.jsonl"].splitlines()]
    assert all(file["stored"] and f"files/{file['sha256']}" in texts for file in files)
    assert len([name for name in texts if name.startswith("archives/")]) == 1
    assert b"bob" not in b"".join(texts.values())


async def test_an_erasure_works_in_memory_too() -> None:
    store = await ThreadStore.create("sqlite://")
    async with store:
        await store.append("t", Message(role="user", content="hello"))

        certificate = await store.erase(thread_id="t")

        assert certificate["counts"]["messages"] == 1
        assert await store.count() == 0


def test_users_are_found_through_an_index(postgres_scene: Scene) -> None:
    plan = plan_of(postgres_scene.database, lambda _: select_thread_keys(Subject(tenant="default", user="ann")))

    assert "ix_threads_owner" in plan
    sent = plan_of(postgres_scene.database, lambda _: select_shared_keys(Subject(tenant="default", user="ann")))
    assert "ix_turns_sender" in sent


def test_nothing_is_left_of_a_tenant_and_no_other_loses_anything(scene: Scene) -> None:
    seed(scene)
    lonely = Attachment(filename="lonely.txt", content=b"a file without a message", media_type="text/plain")
    FileIngest(scene.database, scene.files).store("default", [lonely])
    scene.database.run(uploads.create, upload_id=new_id(), tenant="default", file=lonely, expires_seconds=900)
    acme = scene.database.run(repository.load, tenant="acme", thread_id="ann").to_json()

    certificate = run_erasure(scene.database, scene.files, Subject(tenant="default", whole_tenant=True))

    left = everything(scene)
    assert MARK not in left
    assert "bob" not in left
    assert "a file without a message" not in left
    assert list(scene.files.list("default")) == []
    assert scene.count("uploads") == 0
    assert scene.database.run(repository.load, tenant="acme", thread_id="ann").to_json() == acme
    assert (certificate["subject"]["kind"], certificate["counts"]["threads"]) == ("tenant", 3)
    assert certificate["counts"]["uploads"] == 1


def test_a_hold_on_one_thread_keeps_the_whole_tenant(scene: Scene) -> None:
    seed(scene)
    scene.database.run(legal_holds.hold, tenant="default", thread_id="bob", reason="case 12")
    before = everything(scene)

    with pytest.raises(ThreadUnderLegalHold, match="bob"):
        run_erasure(scene.database, scene.files, Subject(tenant="default", whole_tenant=True))

    assert everything(scene) == before


def test_the_small_pictures_of_a_file_go_with_it(scene: Scene) -> None:
    scene.answered("t", 1, file=b"a picture")
    small = Attachment(filename="small.png", content=b"its thumbnail", media_type="image/png")
    FileIngest(scene.database, scene.files).store("default", [small])
    picture = str(Attachment(filename="a", content=b"a picture").sha256)
    made = {"sha256": picture, "kind": "thumbnail", "rendition_sha256": small.sha256}
    scene.database.run(lambda c: c.execute(tables.renditions.insert().values(tenant="default", **made)))

    run_erasure(scene.database, scene.files, Subject(tenant="default", thread_id="t"))

    assert scene.count("blobs") == 0
    assert list(scene.files.list("default")) == []


def test_the_certificate_comes_after_the_bytes_though_somebody_has_the_row(postgres_scene: Scene) -> None:
    scene = postgres_scene
    scene.answered("t", 1, file=b"a secret")
    locked, done = threading.Event(), threading.Event()

    def hold_the_row() -> None:
        with scene.database.engine.begin() as connection:
            connection.execute(select(tables.blobs).with_for_update())
            locked.set()
            done.wait(1)

    holder = threading.Thread(target=hold_the_row)
    holder.start()
    locked.wait(10)
    certificate = run_erasure(scene.database, scene.files, Subject(tenant="default", thread_id="t"))
    done.set()
    holder.join(10)

    assert certificate["counts"]["blobs"] == 1
    assert list(scene.files.list("default")) == []


def test_the_name_that_an_upload_gave_a_file_goes_with_it(scene: Scene) -> None:
    scene.answered("t", 1, file=b"a passport")
    file = Attachment(filename="ann-lee-passport.txt", content=b"a passport", media_type="text/plain")
    scene.database.run(uploads.create, upload_id=new_id(), tenant="default", file=file, expires_seconds=900)

    run_erasure(scene.database, scene.files, Subject(tenant="default", thread_id="t"))

    left = everything(scene)
    assert "ann-lee" not in left
    assert str(file.sha256) not in left


def test_where_the_doctor_named_a_file_its_hash_goes_with_it(scene: Scene) -> None:
    scene.answered("t", 1, file=b"a passport")
    scene.answered("bob", 1, file=b"another's")
    mine, others = (str(Attachment(filename="a", content=c).sha256) for c in (b"a passport", b"another's"))
    for sha256 in (mine, others):
        mended = tables.audit.insert().values(
            tenant="default", action="doctor.blob-left-pending", created_at=scene.thread("bob").created_at,
            details={"tenant": "default", "sha256": sha256, "done": "it is marked as stored"},
        )  # fmt: skip
        scene.database.run(lambda c, mended=mended: c.execute(mended))

    run_erasure(scene.database, scene.files, Subject(tenant="default", thread_id="t"))

    left = everything(scene)
    assert mine not in left
    assert len(scene.audited("doctor.blob-left-pending")) == 2
    assert [row.details for row in scene.audited() if row.details.get("sha256") == others] != []


def test_a_threads_own_policy_goes_with_it(scene: Scene) -> None:
    scene.answered("ann-lee", 1)
    scene.policy(tenant="default", thread_id="ann-lee", idle_days=10)
    scene.age(20, "ann-lee")

    assert scene.run().threads == 1

    assert scene.count("retention_policies") == 0


async def test_an_export_does_not_hand_out_what_a_scanner_stopped(scene: Scene) -> None:
    scene.answered("t", 1, file=b"malware")
    scene.database.run(lambda c: c.execute(update(tables.blobs).values(scan="infected", scan_finding="Eicar")))
    target = io.BytesIO()

    async with ThreadStore(scene.settings) as store:
        await store.export_user(target, thread_id="t")

    with zipfile.ZipFile(target) as archive:
        assert not [name for name in archive.namelist() if name.startswith("files/")]
        told = "".join(archive.read(name).decode() for name in archive.namelist() if name.endswith(".jsonl"))
    assert '"scan": "infected"' in told or '"scan":"infected"' in told
