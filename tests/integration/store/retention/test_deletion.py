"""Retention: what it deletes, and what it never touches."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update

from conversation.attachment import Attachment
from conversation.message import Message
from conversation.thread import Thread
from store import schedule_runs, tables
from store.audit import hash_of
from store.blobs import LocalBlobs
from store.database.engine import Database
from store.files import garbage_collection
from store.files.ingest import FileIngest
from store.retention import delete_thread
from store.settings import Settings, load
from tasks.jobs.retention import run_retention
from tests.integration.desk import Desk

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def age(database: Database, thread_id: str) -> None:
    with database.engine.begin() as connection:
        connection.execute(update(tables.threads).where(tables.threads.c.id == thread_id).values(updated_at=LONG_AGO))


@pytest.fixture
def kept(any_database: Database, tmp_path: Path) -> tuple[Database, Settings, LocalBlobs]:
    settings = load(
        database_url=any_database.settings.database_url,
        file_store_url=str(tmp_path / "files"),
        retention_idle_days=30,
        blob_grace_days=0,
    )
    return any_database, settings, LocalBlobs(tmp_path / "files")


def with_file(database: Database, thread_id: str, blobs: LocalBlobs, content: bytes) -> Thread:
    file = Attachment(filename="a.txt", content=content, media_type="text/plain")
    FileIngest(database, blobs).store("default", [file])
    thread = Thread(thread_id)
    thread.add_message(Message(role="user", content="see", attachments=[file]))
    return thread


def test_old_threads_go_with_the_blobs_that_nobody_else_has(kept: tuple[Database, Settings, LocalBlobs]) -> None:
    database, settings, blobs = kept
    for thread_id, content in (("old", b"mine"), ("old2", b"shared"), ("new", b"shared")):
        Desk(database).save(with_file(database, thread_id, blobs, content))
    age(database, "old")
    age(database, "old2")

    first = run_retention(database, settings)

    assert (first.threads, first.blobs) == (2, 1)
    assert len(list(blobs.list("default"))) == 1
    assert [thread.id for thread in database.run(threads_listed)] == ["new"]
    with database.engine.begin() as connection:
        gone = select(tables.audit.c.thread_id).where(tables.audit.c.action == "retention.thread_deleted")
        audited = set(connection.execute(gone).scalars())
    assert audited == {hash_of("default", "old"), hash_of("default", "old2")}


def test_a_blob_stays_for_its_grace(kept: tuple[Database, Settings, LocalBlobs]) -> None:
    database, settings, blobs = kept
    Desk(database).save(with_file(database, "old", blobs, b"mine"))
    age(database, "old")

    done = run_retention(database, settings.model_copy(update={"blob_grace_days": 7}))

    assert (done.threads, done.blobs) == (1, 0)
    assert len(list(blobs.list("default"))) == 1


def test_a_thread_under_legal_hold_or_with_work_ahead_stays(kept: tuple[Database, Settings, LocalBlobs]) -> None:
    database, settings, _ = kept
    Desk(database).chat("held", 1)
    Desk(database).chat("busy", 1)
    Desk(database).claim("busy")
    with database.engine.begin() as connection:
        held = update(tables.threads).where(tables.threads.c.id == "held").values(legal_hold=True)
        connection.execute(held)
    age(database, "held")
    age(database, "busy")

    assert run_retention(database, settings).threads == 0


def test_retention_is_off_unless_days_are_set(kept: tuple[Database, Settings, LocalBlobs]) -> None:
    database, settings, _ = kept
    Desk(database).chat("old", 1)
    age(database, "old")

    assert run_retention(database, settings.model_copy(update={"retention_idle_days": 0})).threads == 0
    assert run_retention(database, settings.model_copy(update={"retention_idle_days": 1})).threads == 1


def test_a_crash_between_object_and_row_is_made_up_for(kept: tuple[Database, Settings, LocalBlobs]) -> None:
    database, settings, blobs = kept
    Desk(database).save(with_file(database, "old", blobs, b"mine"))
    age(database, "old")
    database.run(delete_thread.delete_thread, tenant="default", thread_id="old")
    database.run(garbage_collection.note_unused)
    for blob in list(blobs.list("default")):
        blobs.delete("default", blob.sha256)

    assert run_retention(database, settings).blobs == 1


def test_two_beats_run_a_schedule_once_a_period(any_database: Database) -> None:
    hour = timedelta(hours=1).total_seconds()

    runs = [any_database.run(schedule_runs.claim_run, schedule="s", every_seconds=hour) for _ in range(2)]

    assert runs[0] is not None
    # The second is None, unless the hour struck between the two.
    assert runs[1] is None or runs[1].due_at > runs[0].due_at
    any_database.run(schedule_runs.finish_run, run=runs[0], outcome={"written": 1})
    (last,) = any_database.run(schedule_runs.list_last_runs)
    assert (last.schedule, last.outcome, last.error) == ("s", {"written": 1}, None)
    assert last.finished_at is not None


def test_a_run_goes_on_where_the_last_one_that_ended_well_left_off(any_database: Database) -> None:

    def claimed() -> schedule_runs.ScheduleRun:
        while (run := any_database.run(schedule_runs.claim_run, schedule="s", every_seconds=0.01)) is None:
            pass
        return run

    assert claimed().last_outcome == {}  # and it died
    any_database.run(schedule_runs.finish_run, run=claimed(), outcome={"after": 3})
    failing = claimed()
    assert failing.last_outcome == {"after": 3}
    any_database.run(schedule_runs.fail_run, run=failing, error="the store is away" * 100)

    (last,) = any_database.run(schedule_runs.list_last_runs)
    assert last.error is not None
    assert last.error.startswith("the store is away")
    assert len(last.error) == schedule_runs.ERROR_MAX_CHARS
    assert claimed().last_outcome == {"after": 3}


def threads_listed(connection: object) -> list[Thread]:
    from store.threads.listing import ThreadFilter, list_threads

    return list_threads(connection, ThreadFilter())  # type: ignore[arg-type]
