"""What an export gives a person: all that is stored about them, and the names of what was lost."""

import io
import json
import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from conversation.attachment import Attachment
from conversation.ids import new_id
from store import tables
from store.erasure import export_rows
from store.erasure.export import ExportOutcome, UserExport
from store.erasure.subject import Subject
from store.files import uploads
from store.retention import deletion, legal_holds
from store.tables.retention import ARCHIVES, archives
from tests.integration.store.scenes import TURN, Scene

ANN = Subject(tenant="default", user="ann")
FILE = Attachment(filename="note.txt", content=b"a passport", media_type="text/plain")


class Copy:
    """An export that was read back."""

    def __init__(self, scene: Scene, subject: Subject = ANN) -> None:
        self.target = io.BytesIO()
        self.exported: ExportOutcome = UserExport(scene.database, scene.files, subject).write(self.target)
        with zipfile.ZipFile(self.target) as found:
            assert found.testzip() is None
            self.members = {name: found.read(name) for name in found.namelist()}
        self.manifest = json.loads(self.members["manifest.json"])

    def lines(self, name: str) -> list[Any]:
        return [json.loads(line) for line in self.members[name].splitlines()]


def anns(scene: Scene, thread: str = "t", turns: int = 3, **options: Any) -> None:
    scene.answered(thread, turns, **options)
    scene.change(thread, owner="ann")


def lose(scene: Scene, tenant: str, sha256: str) -> None:
    (Path(scene.settings.file_store_url) / tenant / "sha256" / sha256[:2] / sha256[2:]).unlink()


def test_an_archive_that_is_lost_is_named_and_the_rest_is_given(scene: Scene) -> None:
    scene.policy(tenant="default", max_messages=TURN, archive=True)
    for _ in range(2):
        anns(scene)
        scene.run()
    kept = scene.database.run(lambda c: c.execute(select(archives.c.sha256)).scalars().all())
    lose(scene, ARCHIVES, kept[0])

    copy = Copy(scene)

    lost = f"archives/{kept[0]}.jsonl.gz"
    assert copy.exported == ExportOutcome(threads=1, lost=(lost,))
    assert copy.manifest["lost"] == [lost]
    assert [name for name in copy.members if name.startswith("archives/")] == [f"archives/{kept[1]}.jsonl.gz"]
    assert len([line for line in copy.lines("threads/0001.jsonl") if line["kind"] == "message"]) == TURN


def test_a_file_that_is_lost_is_named_once_and_the_rest_is_given(scene: Scene) -> None:
    anns(scene, file=b"a passport")
    scene.send("one more", "t", file=b"kept")
    lose(scene, "default", str(FILE.sha256))

    copy = Copy(scene)

    assert copy.exported.lost == (f"files/{FILE.sha256}",)
    assert sorted({line["stored"] for line in copy.lines("files.jsonl")}) == [False, True]
    assert b"kept" in copy.members.values()


def test_the_text_of_a_file_is_given_once_however_many_messages_have_it(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_rows, "PAGE", 2)
    anns(scene, turns=3, file=b"a passport")
    anns(scene, "t2", turns=2, file=b"a passport")
    scene.send("one more", "t", file=b"another")
    scene.database.run(lambda c: c.execute(tables.blobs.update().values(extracted_text="born in 1970")))

    copy = Copy(scene)

    listed = copy.lines("files.jsonl")
    assert [line["sha256"] == FILE.sha256 for line in listed].count(True) == 5
    assert len({(line["thread"], line["message_id"]) for line in listed}) == 6
    assert b"born" not in copy.members["files.jsonl"]
    told = {name: text for name, text in copy.members.items() if name.startswith("texts/")}
    assert told.pop(f"texts/{FILE.sha256}.txt") == b"born in 1970"
    assert list(told.values()) == [b"born in 1970"]
    with zipfile.ZipFile(copy.target) as found:
        assert len(found.namelist()) == len(set(found.namelist()))


def test_an_export_reads_files_page_by_page(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    anns(scene, turns=5, file=b"a passport")
    monkeypatch.setattr(export_rows, "PAGE", 2)
    page = partial(export_rows.load_files, key=scene.key())

    first = scene.database.run(page, after=("", -1))
    second = scene.database.run(page, after=(first[-1].message_id, first[-1].place))

    assert (len(first), len(second)) == (2, 2)
    assert not {row.message_id for row in first} & {row.message_id for row in second}


@pytest.mark.parametrize("held", [True, False])
def test_the_rest_of_a_half_turn_is_given_while_a_hold_keeps_it(scene: Scene, held: bool) -> None:
    scene.answered(turns_=2)
    anns(scene, turns=1, file=b"a passport")
    scene.policy(tenant="default", max_messages=0)
    scene.cut()
    key = scene.key()

    def remove(connection: Any) -> None:
        batch = deletion.lock_next_batch(connection, key, limit=2 * TURN + 2)
        assert batch is not None
        deletion.remove_batch(connection, batch)

    if held:
        scene.database.run(remove)
        scene.database.run(legal_holds.hold, tenant="default", thread_id="t")
        assert scene.contents() == []

    copy = Copy(scene)

    told = [line["content"] for line in copy.lines("threads/0001.held.jsonl")]
    assert told == (["seen 1", "answer 1"] if held else [])
    assert b"question" not in b"".join(copy.members.values())


def test_files_of_what_only_a_hold_keeps_are_given(scene: Scene) -> None:
    anns(scene, turns=1, file=b"a passport")
    scene.change(history_starts_after=TURN)
    assert Copy(scene).lines("files.jsonl") == []

    scene.change(legal_hold=True)

    assert Copy(scene).members[f"files/{FILE.sha256}"] == b"a passport"


def test_turns_in_any_state_are_given_with_their_idempotency_keys(scene: Scene) -> None:
    anns(scene, turns=1, idempotency_key="order-7")
    scene.send("not begun", "t", idempotency_key="order-8")

    work = [line for line in Copy(scene).lines("threads/0001.work.jsonl") if line["row"] == "turn"]

    assert [(turn["state"], turn["idempotency_key"]) for turn in work] == [
        ("completed", "order-7"),
        ("queued", "order-8"),
    ]


@pytest.mark.parametrize("held", [False, True])
def test_turns_and_journals_of_what_is_about_to_be_deleted_are_given_if_a_hold_keeps_them(
    scene: Scene, held: bool
) -> None:
    anns(scene, turns=2)
    scene.send("not begun", "t")
    scene.change(history_starts_after=TURN, legal_hold=held)

    copy = Copy(scene)

    work = [line["row"] for line in copy.lines("threads/0001.work.jsonl")]
    assert (work.count("turn"), work.count("step")) == ((3, 2) if held else (2, 1))
    assert (b"seen 1" in copy.members["threads/0001.work.jsonl"]) == held
    told = [line for line in copy.lines("threads/0001.jsonl") if line["kind"] == "turn"]
    assert len(told) == 1


def test_no_turn_is_given_of_a_thread_that_goes_whole(scene: Scene) -> None:
    anns(scene)
    scene.age(40)
    scene.policy(tenant="default", idle_days=30)
    scene.cut()

    copy = Copy(scene)

    assert copy.lines("threads/0001.work.jsonl") == []
    assert [line["kind"] for line in copy.lines("threads/0001.jsonl")] == ["thread", "end"]


@pytest.mark.parametrize("held", [False, True])
def test_files_of_a_turn_that_never_began_are_given_if_the_turn_is(scene: Scene, held: bool) -> None:
    anns(scene, turns=1)
    turn = scene.send("never mind", "t", file=b"a passport")
    cancelled = tables.turns.update().where(tables.turns.c.id == turn).values(state="cancelled")
    scene.database.run(lambda c: c.execute(cancelled))
    scene.age(40)
    scene.policy(tenant="default", idle_days=30)
    scene.cut()
    scene.change(legal_hold=held)

    copy = Copy(scene)

    assert len(copy.lines("files.jsonl")) == held
    assert any(name.startswith("files/") for name in copy.members) == held


def test_a_threads_own_policy_is_given(scene: Scene) -> None:
    anns(scene)
    scene.policy(tenant="default", thread_id="t", idle_days=90)
    scene.policy(tenant="default", idle_days=100)

    (policy,) = Copy(scene).lines("threads/0001.policy.jsonl")

    assert (policy["thread_id"], policy["idle_days"]) == ("t", 90)


def test_what_a_client_said_of_a_file_when_it_put_it_is_given(scene: Scene) -> None:
    anns(scene, file=b"a passport")
    for tenant, content in (("default", b"a passport"), ("default", b"another's"), ("acme", b"a passport")):
        file = Attachment(filename="ann-lee.txt", content=content, media_type="text/plain")
        scene.database.run(uploads.create, upload_id=new_id(), file=file, expires_seconds=900, tenant=tenant)

    (told,) = Copy(scene).lines("uploads.jsonl")

    assert (told["tenant"], told["filename"], told["sha256"]) == ("default", "ann-lee.txt", FILE.sha256)


def test_archives_of_a_thread_that_is_gone_are_given_with_all_their_parts(scene: Scene) -> None:
    scene.policy(tenant="default", max_messages=TURN, archive=True)
    scene.answered(turns_=2)
    scene.change(metadata={})
    scene.run()
    anns(scene, turns=2)
    scene.run()
    scene.database.run(lambda c: c.execute(tables.threads.delete()))
    # As an archive that was written before the thread had a user.
    first = scene.database.run(lambda c: c.execute(select(archives).order_by(archives.c.key)).first())
    assert first is not None
    nameless = archives.update().where(archives.c.key == first.key).values(user_sha256=None)
    scene.database.run(lambda c: c.execute(nameless))

    copy = Copy(scene)

    assert copy.exported == ExportOutcome(threads=0)
    assert len([name for name in copy.members if name.startswith("archives/")]) == 2
