"""Erasures that broke off: taken up by the schedule, told by the doctor, and stopped by a hold meanwhile."""

import time
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import select, update

from conversation.errors import FileStoreUnavailable, ThreadUnderLegalHold
from store.doctor import Examination, Note, Scope
from store.doctor.checks import erasures as doctor_erasures
from store.erasure import steps
from store.erasure.subject import Subject
from store.erasure.unfinished import claim_erasure
from store.erasure.workflow import resume_erasure, run_erasure
from store.retention import deletion, legal_holds
from store.tables.retention import erasures
from tasks.jobs import retention
from tasks.jobs.resume_erasures import IDLE_SECONDS, ResumeOutcome, resume_erasures
from tests.integration.store.scenes import TURN, Scene

pytestmark = pytest.mark.soak

ANN = Subject(tenant="default", user="ann")


def rows(scene: Scene) -> list[Any]:
    return scene.database.run(lambda c: list(c.execute(select(erasures))))


def fenced(scene: Scene, *threads_: str) -> str:
    """An erasure of ann's that fenced off all of these, and deleted nothing yet."""
    for thread in threads_:
        scene.answered(thread, 3)
        scene.change(thread, owner="ann")
    erasure = scene.database.run(steps.begin, subject=ANN)
    for thread in threads_:
        scene.database.run(steps.lock_out_thread, erasure_id=erasure, subject=ANN, key=scene.key(thread))
    return erasure


def test_a_hold_in_the_middle_has_the_persons_other_threads_read_again_until_it_is_released(scene: Scene) -> None:
    erasure = fenced(scene, "a", "b", "c")
    scene.database.run(deletion.remove_next_batch, erasure_id=erasure, key=scene.key("a"))
    scene.database.run(legal_holds.hold, tenant="default", thread_id="c")
    assert scene.contents("b") == []

    with pytest.raises(ThreadUnderLegalHold, match="'c'"):
        run_erasure(scene.database, scene.files, ANN)

    assert len(scene.contents("b")) == len(scene.contents("c")) == 3 * TURN
    assert [row for row in scene.pending() if row.erasure_id is not None] == []
    assert rows(scene)[0].finished_at is None
    scene.database.run(legal_holds.release, tenant="default", thread_id="c")
    certificate = run_erasure(scene.database, scene.files, ANN)
    assert certificate["id"] == erasure
    assert (certificate["counts"]["messages"], certificate["counts"]["threads"]) == (3 * 3 * TURN, 3)


def test_retention_takes_up_what_an_erasure_left_of_a_turn_when_its_hold_is_released(scene: Scene) -> None:
    erasure = fenced(scene, "a")
    key = scene.key("a")

    def half_a_turn(connection: Any) -> None:
        batch = deletion.lock_next_batch(connection, key, erasure_id=erasure, limit=TURN // 2)
        assert batch is not None
        deletion.remove_batch(connection, batch)

    scene.database.run(half_a_turn)
    scene.database.run(legal_holds.hold, tenant="default", thread_id="a")
    assert len(scene.seqs("a")) == 3 * TURN - TURN // 2
    scene.database.run(legal_holds.release, tenant="default", thread_id="a")

    scene.run()

    assert (scene.pending(), len(scene.seqs("a")), len(scene.contents("a"))) == ([], 2 * TURN, 2 * TURN)


def broke_off(scene: Scene, *threads_: str) -> str:
    """An erasure of ann's whose process died long ago."""
    erasure = fenced(scene, *threads_)
    idle(scene)
    return erasure


def idle(scene: Scene) -> None:
    """Nobody has worked on any of them for long."""
    long_ago = datetime.now(UTC) - timedelta(seconds=2 * IDLE_SECONDS)
    scene.database.run(lambda c: c.execute(update(erasures).values(last_step_at=long_ago)))


def test_erasures_leave_retention_its_time(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]

    def takes_long(*_: object) -> ResumeOutcome:
        now[0] += 10 * retention.RUN_SECONDS
        return ResumeOutcome()

    monkeypatch.setattr(retention, "resume_erasures", takes_long)
    monkeypatch.setattr("tasks.jobs.retention.time.monotonic", lambda: now[0])
    scene.answered(turns_=2)
    scene.policy(tenant="default", max_messages=TURN)

    assert scene.run(blob_grace_days=7).messages == TURN


def test_the_schedule_finishes_an_erasure_that_broke_off(scene: Scene) -> None:
    broke_off(scene, "a", "b")
    scene.answered("b2", 1, file=b"a secret")
    scene.change("b2", owner="ann")
    scene.answered("bob", 1)

    done = scene.run()

    assert (done.erased, done.erasures_held, done.erasures_left) == (1, 0, 0)
    assert [scene.row(thread) for thread in ("a", "b", "b2")] == [None, None, None]
    assert len(scene.contents("bob")) == TURN
    assert list(scene.files.list("default")) == []
    (row,) = rows(scene)
    assert row.certificate["counts"]["threads"] == 3
    assert run_erasure(scene.database, scene.files, ANN) == row.certificate


def test_whom_it_is_about_is_stored_only_until_it_is_finished(scene: Scene) -> None:
    fenced(scene, "a")
    assert rows(scene)[0].subject_id == "ann"

    run_erasure(scene.database, scene.files, ANN)

    assert rows(scene)[0].subject_id is None


@pytest.mark.parametrize(
    "subject", [Subject(tenant="default", thread_id="a"), Subject(tenant="default", whole_tenant=True)]
)
def test_an_erasure_of_whatever_kind_is_taken_up(scene: Scene, subject: Subject) -> None:
    scene.answered("a", 1)
    scene.database.run(steps.begin, subject=subject)
    idle(scene)

    assert scene.run().erased == 1

    assert scene.row("a") is None
    assert rows(scene)[0].certificate["subject"]["kind"] == subject.kind


def test_one_that_somebody_works_on_is_left_to_them(scene: Scene) -> None:
    fenced(scene, "a")

    assert scene.run().erased == 0

    assert scene.row("a") is not None


def test_two_runs_at_once_do_not_take_up_the_same(postgres_scene: Scene) -> None:
    broke_off(postgres_scene, "a")
    look = partial(claim_erasure, idle_seconds=IDLE_SECONDS)

    with postgres_scene.database.engine.begin() as first:
        assert look(first)
        assert postgres_scene.database.run(look) is None

    # The other has just begun with it.
    assert postgres_scene.database.run(look) is None


def test_one_that_fails_stops_no_other_and_is_told(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    broke_off(scene, "a")
    scene.answered("bob", 1, file=b"of bob")
    theirs = Subject(tenant="default", thread_id="bob")
    scene.database.run(steps.begin, subject=theirs)
    idle(scene)

    def refuse(*_: object) -> None:
        raise FileStoreUnavailable("it is away")

    with monkeypatch.context() as away:
        away.setattr(type(scene.files), "delete", refuse)
        done = resume_erasures(scene.database, scene.files)

    assert (done.finished, done.unfinished) == (1, 1)
    assert scene.row("a") is None
    idle(scene)
    assert scene.run().erased == 1
    assert list(scene.files.list("default")) == []


def test_one_that_a_hold_stops_goes_on_when_the_hold_is_released(scene: Scene) -> None:
    broke_off(scene, "a", "b")
    scene.database.run(legal_holds.hold, tenant="default", thread_id="b")

    assert scene.run().erasures_held == 1

    assert len(scene.contents("a")) == len(scene.contents("b")) == 3 * TURN
    scene.database.run(legal_holds.release, tenant="default", thread_id="b")
    idle(scene)
    assert scene.run().erased == 1
    assert (scene.row("a"), scene.row("b")) == (None, None)


def test_a_run_whose_time_is_over_leaves_the_rest_to_a_later_one(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    erasure = broke_off(scene, "a", "b")
    moments = iter([0.0, 0.0, *[1.0] * 3])
    monkeypatch.setattr(time, "monotonic", lambda: next(moments, 1000.0))

    done = resume_erasures(scene.database, scene.files)

    monkeypatch.undo()
    assert (done.finished, done.unfinished) == (0, 1)
    assert rows(scene)[0].finished_at is None
    idle(scene)
    assert scene.run().erased == 1
    assert rows(scene)[0].id == erasure


def test_what_is_said_after_the_certificate_stays_though_somebody_still_works_on_the_erasure(scene: Scene) -> None:
    erasure = broke_off(scene, "a")
    certificate = run_erasure(scene.database, scene.files, ANN)
    scene.answered("a", 1)
    scene.change("a", owner="ann")

    assert resume_erasure(scene.database, scene.files, erasure, ANN) == certificate

    assert len(scene.contents("a")) == TURN
    assert scene.pending() == []


def test_a_thread_that_changes_hands_while_it_is_erased_does_not_stay_hidden(scene: Scene) -> None:
    fenced(scene, "a", "b")
    scene.change("b", owner="bob")

    certificate = run_erasure(scene.database, scene.files, ANN)

    assert (scene.row("a"), scene.row("b"), scene.pending()) == (None, None, [])
    assert certificate["counts"]["messages"] == 2 * 3 * TURN


def told(scene: Scene, **scope: Any) -> list[Note]:
    examination = Examination(
        database=scene.database, files=scene.files, only=["erasure-unfinished"], scope=Scope(**scope)
    )
    (result,) = examination.run()
    assert result.problem is None
    return result.notes


def test_the_doctor_names_an_erasure_that_is_not_finished_after_a_day(scene: Scene) -> None:
    erasure = fenced(scene, "a")
    assert told(scene) == []
    asked = datetime.now(UTC) - timedelta(days=2)
    scene.database.run(lambda c: c.execute(update(erasures).values(requested_at=asked)))

    (note,) = told(scene)

    assert note.finding.ids["erasure"] == erasure
    assert "ann" not in str(note.to_json())
    assert told(scene, tenant="acme") == []
    run_erasure(scene.database, scene.files, ANN)
    assert told(scene) == []


def test_the_doctor_names_all_of_them_however_many(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_erasures, "PAGE", 1)
    asked = datetime.now(UTC) - timedelta(days=2)
    for user in ("ann", "bob", "cleo"):
        scene.database.run(steps.begin, subject=Subject(tenant="default", user=user))
    scene.database.run(lambda c: c.execute(update(erasures).values(requested_at=asked)))

    assert {note.finding.ids["erasure"] for note in told(scene)} == {row.id for row in rows(scene)}


def test_the_doctor_names_the_hold_that_stops_an_erasure_at_once(scene: Scene) -> None:
    fenced(scene, "a", "b")
    scene.database.run(legal_holds.hold, tenant="default", thread_id="b")

    (note,) = told(scene)

    assert "'b' under legal hold" in note.finding.detail
