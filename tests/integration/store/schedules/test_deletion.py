"""Schedules go with what they would bring back; an export has them; the doctor and `status` tell of late ones."""

import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zipfile import ZipFile

import pytest
from sqlalchemy import update

from conversation.errors import ThreadNotFound
from conversation.schedule import ScheduleRecord
from store import tables
from store.blobs import LocalBlobs
from store.database.engine import Database
from store.doctor import CHECKS
from store.doctor.examination import Examination
from store.erasure.export import UserExport
from store.erasure.subject import Subject
from store.erasure.workflow import run_erasure
from store.retention.delete_thread import delete_thread
from store.schedules import repository, runs
from store.schedules.deletion import purge_ended
from store.settings import load
from store.threads.repository import ensure_thread
from store.threads.visible_threads import Viewer
from tasks import maintenance
from tests.integration.store.schedules.agenda import HOUR, Agenda
from threadmill.installation_problems import list_problems


@pytest.fixture(params=[pytest.param("database_url", marks=pytest.mark.soak), "sqlite_url"])
def agenda(request: pytest.FixtureRequest) -> Iterator[Agenda]:
    """On one road of PostgreSQL: nothing here is sent by a function alone."""
    database = Database(load(database_url=request.getfixturevalue(request.param)))
    yield Agenda(database)
    database.close()


def left(agenda: Agenda, tenant: str = "default") -> list[ScheduleRecord]:
    return list(agenda.database.run(repository.list_schedules, Viewer(tenant)))


def test_a_deleted_thread_is_not_brought_back(agenda: Agenda) -> None:
    agenda.create(thread_id="gone", late=timedelta())
    other = agenda.create(thread_id="t")
    agenda.tick()

    assert agenda.database.run(delete_thread, "default", "gone")

    assert [schedule.id for schedule in left(agenda)] == [other.id]
    assert agenda.tick().sent == 0


@pytest.mark.parametrize(
    ("subject", "names"),
    [
        (Subject(tenant="default", user="ada"), ["bob's", "nobody's"]),
        (Subject(tenant="default", thread_id="t"), ["bob's"]),
        (Subject(tenant="default", whole_tenant=True), []),
    ],
)
def test_an_erasure_takes_what_is_the_subjects(
    agenda: Agenda, tmp_path: Path, subject: Subject, names: list[str]
) -> None:
    agenda.create(user="ada", name="ada's")
    agenda.create(user="bob", name="bob's", thread_id="of-bob")
    agenda.create(name="nobody's")
    agenda.create(tenant="acme", user="ada")

    certificate = run_erasure(agenda.database, LocalBlobs(tmp_path), subject)

    assert [schedule.name for schedule in left(agenda)] == names
    assert len(left(agenda, "acme")) == 1
    assert certificate["outcome"] == "erased"
    assert certificate["counts"]["schedules"] == 3 - len(names)


def test_a_schedule_of_another_that_sends_to_an_erased_thread_goes_with_it(agenda: Agenda, tmp_path: Path) -> None:
    agenda.database.run(ensure_thread, "default", "t", owner="ada")
    agenda.create(user="bob", thread_id="t", late=timedelta())

    run_erasure(agenda.database, LocalBlobs(tmp_path), Subject(tenant="default", user="ada"))

    assert left(agenda) == []
    assert agenda.tick().sent == 0


def test_an_export_has_a_users_schedules(agenda: Agenda, tmp_path: Path) -> None:
    schedule = agenda.create("every hour", user="ada")
    target = io.BytesIO()

    UserExport(agenda.database, LocalBlobs(tmp_path), Subject(tenant="default", user="ada")).write(target)

    line = json.loads(ZipFile(target).read("schedules.jsonl"))
    assert (line["id"], line["content"], line["cron"]) == (schedule.id, "every hour", "0 * * * *")
    with pytest.raises(ThreadNotFound):
        UserExport(agenda.database, LocalBlobs(tmp_path), Subject(tenant="default", user="bob")).write(io.BytesIO())


def test_what_ended_long_ago_is_purged_and_nothing_else(agenda: Agenda) -> None:
    agenda.create(at=datetime(2020, 1, 1, tzinfo=UTC))
    lasting = agenda.create()
    agenda.tick()

    assert agenda.database.run(purge_ended, days=1) == 0
    old = update(tables.schedules).values(updated_at=datetime(2020, 1, 1, tzinfo=UTC))
    agenda.database.run(lambda connection: connection.execute(old))
    assert agenda.database.run(purge_ended, days=0) == 0
    assert agenda.database.run(purge_ended, days=1) == 1
    assert [schedule.id for schedule in left(agenda)] == [lasting.id]


def test_late_and_refused_schedules_are_told(agenda: Agenda, tmp_path: Path) -> None:
    agenda.create()
    late, refused = agenda.create(late=2 * HOUR), agenda.create()
    failing = update(tables.schedules).where(tables.schedules.c.id == refused.id).values(failures=5)
    agenda.database.run(lambda connection: connection.execute(failing))
    names = [check.name for check in CHECKS if check.name.startswith("schedule-")]
    examination = Examination(database=agenda.database, files=LocalBlobs(tmp_path), only=names)

    findings = {
        result.check.name: [note.finding.ids["schedule"] for note in result.notes] for result in examination.run()
    }

    assert findings == {"schedule-overdue": [late.id], "schedule-refused": [refused.id]}
    assert agenda.database.run(runs.count_overdue, over_seconds=60) == 1
    problems = list_problems(agenda.database, agenda.database.settings, broker_answers=True)
    assert any(problem.startswith("1 recurring messages are more than 300 s late") for problem in problems)


def test_a_tick_of_beat_sends_what_is_due(agenda: Agenda, monkeypatch: pytest.MonkeyPatch) -> None:
    schedule = agenda.create(late=timedelta())
    monkeypatch.setattr(maintenance, "_database", lambda: agenda.database)
    monkeypatch.setattr(maintenance, "publish_wake_up", agenda.published.append)

    outcomes = [maintenance.send_scheduled() for _ in range(2)]

    assert outcomes == [{"sent": count, "refused": 0, "failed": 0} for count in (1, 0)]
    assert [wake_up.turn_id for wake_up in agenda.published] == [agenda.find(schedule).last_turn_id]
