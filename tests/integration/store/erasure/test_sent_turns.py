"""Turns that a user sent in threads of others: erased in place, given away by an export, named by the certificate."""

import io
import json
import zipfile
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Connection, insert, select, update

from conversation.errors import InvalidInput, LeaseLost, ThreadNotFound, ThreadUnderLegalHold
from conversation.ids import new_id
from conversation.message import Message
from conversation.step import message_of
from conversation.turn import Completed
from conversation.when_busy import WhenBusy
from store import tables
from store.audit import hash_of
from store.erasure.export import UserExport
from store.erasure.sent_turns import ERASED
from store.erasure.subject import Subject
from store.erasure.workflow import run_erasure
from store.retention import legal_holds
from store.threads.search import search_messages
from store.turns import journal, steering
from store.turns.settle import settle as settle_turn
from store.turns.unserved import end_overdue
from tests.integration.store.erasure.test_erasure import everything
from tests.integration.store.scenes import TURN, Scene, settle

MARK = "heron-4711"
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
BOB = Subject(tenant="default", user=f"bob-{MARK}")


def shared(scene: Scene) -> None:
    """A thread of ann's in which bob asked once, with a file, and again: that waits. Another in which he did not."""
    scene.answered("anns", 1, user="ann")
    claimed = scene.claimed(
        f"{MARK} asks", "anns", user=BOB.user, metadata={"of": MARK}, file=f"{MARK} file".encode(), idempotency_key=MARK
    )
    scene.database.run(settle(claimed, 1))
    scene.answered("other", 1, user="ann")
    waiting = scene.send(f"{MARK} waits", "anns", user=BOB.user, file=f"{MARK} inbox".encode())
    scene.database.run(refused, turn_id=waiting)


def refused(connection: Connection, turn_id: str) -> None:
    """A provider refused the turn, in the user's own words, now and at its first attempt."""
    words = {"error_kind": "refused", "error_message": f"your prompt {MARK!r} was refused", "error_fault": "operator"}
    connection.execute(update(tables.turns).where(tables.turns.c.id == turn_id).values(words))
    attempt = {"turn_id": turn_id, "number": 1, "outcome": "retried", "started_at": LONG_AGO, "ended_at": LONG_AGO}
    connection.execute(insert(tables.turn_attempts).values(attempt | words))


def exported(scene: Scene, subject: Subject) -> dict[str, bytes]:
    target = io.BytesIO()
    UserExport(scene.database, scene.files, subject).write(target)
    with zipfile.ZipFile(target) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_nothing_is_left_of_what_they_said_and_the_thread_stays(scene: Scene) -> None:
    shared(scene)
    assert MARK in everything(scene)

    certificate = run_erasure(scene.database, scene.files, BOB)

    assert MARK not in everything(scene)
    # Its place is taken, and what was answered stands.
    assert scene.contents("anns")[TURN] == ERASED
    assert [content for content in scene.contents("anns") if content != ERASED][-1] == scene.contents("other")[-1]
    assert len(scene.contents("anns")) == 2 * TURN
    assert search_messages_of(scene, "heron") == []
    assert certificate["outcome"] == "erased"
    assert certificate["threads"] == []
    assert certificate["shared_threads"] == [hash_of("default", "anns")]
    assert certificate["counts"] == {
        "shared_turns": 2, "shared_messages": 2, "blobs": 2,
        "blob_bytes": len(f"{MARK} file{MARK} inbox"),
    }  # fmt: skip
    waiting = (
        select(tables.turns.c.state).where(tables.turns.c.sender == BOB.sha256).order_by(tables.turns.c.arrival_seq)
    )
    assert scene.database.run(lambda c: c.execute(waiting).scalars().all()) == ["completed", "cancelled"]
    assert run_erasure(scene.database, scene.files, BOB) == certificate


def test_a_worker_that_has_read_their_words_stores_none_of_them_any_more(scene: Scene) -> None:
    scene.answered("anns", 1, user="ann")
    running = scene.claimed(f"{MARK} asks", "anns", user=BOB.user)
    scene.send(f"{MARK} adds", "anns", user=BOB.user, when_busy=WhenBusy.STEER)
    (read,) = scene.database.run(steering.take, running.lease, running.id, 0, limit=9)
    answer = Completed(messages=(message_of(read), Message(role="assistant", content=f"{MARK}, you say?")))

    run_erasure(scene.database, scene.files, BOB)

    with pytest.raises(LeaseLost):
        scene.database.run(journal.record, running.lease, running.id, [replace(read, index=1)])
    with pytest.raises(LeaseLost):
        scene.database.run(settle_turn, running.lease, running.id, answer, release=True)
    assert scene.database.run(end_overdue, "default", "anns", sweeper=new_id()) is not None
    assert MARK not in everything(scene)
    assert scene.contents("anns")[TURN:] == [ERASED, ERASED]


def search_messages_of(scene: Scene, words: str) -> list[Any]:
    return scene.database.run(search_messages, query=words)


def test_words_that_stand_in_place_of_others_are_found(scene: Scene) -> None:
    shared(scene)

    run_erasure(scene.database, scene.files, BOB)

    assert [hit.thread_id for hit in search_messages_of(scene, "erased")] == ["anns"]
    assert scene.database.run(search_messages, query="erased", user="bob") == []
    assert len(scene.database.run(search_messages, query="erased", user="ann")) == 1


def test_a_hold_on_a_thread_in_which_they_spoke_keeps_everything(scene: Scene) -> None:
    shared(scene)
    scene.answered("bobs", 1, user=BOB.user)
    scene.database.run(legal_holds.hold, tenant="default", thread_id="anns")
    before = everything(scene)

    with pytest.raises(ThreadUnderLegalHold, match="'anns'"):
        run_erasure(scene.database, scene.files, BOB)

    assert everything(scene) == before
    scene.database.run(legal_holds.release, tenant="default", thread_id="anns")
    run_erasure(scene.database, scene.files, BOB)
    assert MARK not in everything(scene)
    assert scene.row("bobs") is None


def test_they_are_given_what_they_said_and_nothing_that_others_said(scene: Scene) -> None:
    shared(scene)

    members = exported(scene, BOB)

    said = [json.loads(line) for line in members["sent.jsonl"].splitlines()]
    assert [(line["thread"], line["content"]) for line in said] == [("anns", f"{MARK} asks"), ("anns", f"{MARK} waits")]
    files = [json.loads(line) for line in members["files.jsonl"].splitlines()]
    assert [members[f"files/{file['sha256']}"] for file in files] == [f"{MARK} file".encode(), f"{MARK} inbox".encode()]
    assert b"question 1" not in b"".join(members.values())
    # The owner's copy has the whole thread, and no list of what she sent elsewhere.
    assert "sent.jsonl" not in exported(scene, Subject(tenant="default", user="ann"))


def test_a_certificate_for_nobody_says_that_nothing_was_found(scene: Scene) -> None:
    shared(scene)
    before = scene.counts()

    certificate = run_erasure(scene.database, scene.files, Subject(tenant="default", user="bop"))

    assert (certificate["outcome"], certificate["counts"]) == ("nothing was found", {})
    assert scene.counts() == {**before, "audit": before["audit"] + 1, "erasures": before["erasures"] + 1}
    with pytest.raises(ThreadNotFound):
        exported(scene, Subject(tenant="default", user="bop"))


def test_what_is_no_id_of_a_user_is_refused(scene: Scene) -> None:
    users: list[Any] = ["", "ann lee", "ann\n", "ann\x9b", "x" * 256, "a\ud800", "../x", 42]
    for user in users:
        with pytest.raises(InvalidInput, match=r"^user: "):
            run_erasure(scene.database, scene.files, Subject(tenant="default", user=user))
