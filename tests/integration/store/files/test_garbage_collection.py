"""Storing files and collecting those that nobody uses: one against the other, at every step."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event, func, select, text, update

from conversation.attachment import Attachment
from conversation.errors import FileNotStored, FileRejected, FileStoreUnavailable, InvalidInput, LimitReached
from conversation.ids import new_id
from conversation.message import Message
from store import tables
from store.blobs import BlobStore, LocalBlobs
from store.database.engine import Database
from store.files import blob_rows, file_queue, garbage_collection, uploads
from store.files.ingest import FileIngest
from store.retention import delete_thread
from store.settings import load
from store.turns import inbox
from store.turns.send_request import SendRequest
from tasks.jobs import collect_files

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
FILE = Attachment(filename="a.txt", content=b"the bytes", media_type="text/plain")
SHA256 = str(FILE.sha256)
ADDRESS = ("default", SHA256)


@pytest.fixture
def files(tmp_path: Path) -> LocalBlobs:
    return LocalBlobs(tmp_path / "files")


def request(thread_id: str, *attached: Attachment) -> SendRequest:
    return SendRequest(
        turn_id=new_id(),
        tenant="default",
        thread_id=thread_id,
        message=Message(role="user", content="see", attachments=list(attached)),
        agent="a",
        allow_unknown_agent=True,
    )


def send(database: Database, thread_id: str, *attached: Attachment) -> None:
    database.run(inbox.accept, request=request(thread_id, *attached))


def forget(database: Database, thread_id: str) -> None:
    database.run(delete_thread.delete_thread, tenant="default", thread_id=thread_id)


def let_time_pass(database: Database) -> None:
    with database.engine.begin() as connection:
        noted = tables.blobs.c.unreferenced_since.is_not(None)
        connection.execute(update(tables.blobs).where(noted).values(unreferenced_since=LONG_AGO))


def collect(database: Database, files: BlobStore, *, grace_days: float = 7) -> int:
    database.run(garbage_collection.note_unused)
    marked = database.run(garbage_collection.mark_due, grace_days=grace_days)
    delete = partial(garbage_collection.delete_marked, delete_object=files.delete)
    return sum(database.run(delete, address=address) for address in marked.addresses)


def state(database: Database, sha256: str = SHA256) -> str | None:
    with database.engine.begin() as connection:
        statement = select(tables.blobs.c.state).where(tables.blobs.c.sha256 == sha256)
        found: str | None = connection.execute(statement).scalar_one_or_none()
        return found


def test_a_kept_file_is_stored_and_a_message_may_have_it(any_database: Database, files: LocalBlobs) -> None:
    FileIngest(any_database, files).store("default", [FILE])
    send(any_database, "t", FILE)

    assert state(any_database) == "stored"
    assert files.get("default", SHA256) == b"the bytes"


def test_a_message_cannot_have_a_file_whose_bytes_never_came(any_database: Database, files: LocalBlobs) -> None:
    any_database.run(blob_rows.reserve, tenant="default", files=[FILE])

    with pytest.raises(FileNotStored, match=r"'a\.txt' was deleted"):
        send(any_database, "t", FILE)
    with pytest.raises(InvalidInput, match=r"attachments\.content: is missing, and 'a\.txt' is not stored"):
        send(any_database, "t", Attachment(filename="a.txt", sha256=SHA256))

    with any_database.engine.begin() as connection:
        assert connection.execute(select(func.count()).select_from(tables.threads)).scalar_one() == 0


def test_a_message_cannot_have_an_infected_file(any_database: Database, files: LocalBlobs) -> None:
    FileIngest(any_database, files).store("default", [FILE])
    with any_database.engine.begin() as connection:
        connection.execute(update(tables.blobs).values(scan="infected", scan_finding="Eicar-Test-Signature"))

    with pytest.raises(FileRejected, match="infected"):
        send(any_database, "t", FILE)


def test_what_somebody_claims_of_bytes_that_nobody_saw_makes_no_row(any_database: Database, files: LocalBlobs) -> None:
    claim = Attachment(filename="a.png", sha256=SHA256, size=10**9, media_type="image/png")
    FileIngest(any_database, files).store("default", [claim])
    assert state(any_database) is None

    FileIngest(any_database, files).store("default", [FILE])
    send(any_database, "t", claim)
    with any_database.engine.begin() as connection:
        row = connection.execute(select(tables.blobs)).one()
    assert (row.size, row.media_type) == (9, "text/plain")


def test_a_row_that_an_import_made_says_what_the_bytes_are_when_they_come(
    any_database: Database, files: LocalBlobs
) -> None:
    claim = Attachment(filename="a.png", sha256=SHA256, size=1, media_type="image/png")
    any_database.run(blob_rows.reserve, tenant="default", files=[claim])

    FileIngest(any_database, files).store("default", [FILE])

    with any_database.engine.begin() as connection:
        row = connection.execute(select(tables.blobs)).one()
    assert (row.size, row.media_type, row.state) == (9, "text/plain", "stored")


def test_files_of_one_message_are_limited_by_what_they_are(any_database: Database, files: LocalBlobs) -> None:
    FileIngest(any_database, files).store("default", [FILE])
    by_hash = Attachment(filename="a.txt", sha256=SHA256, size=0)

    with pytest.raises(FileRejected, match="THREADMILL_MESSAGE_MAX_BYTES"):
        any_database.run(blob_rows.check_stored, tenant="default", files=[by_hash], max_bytes=8)


def test_what_a_dead_sender_left_behind_is_collected(any_database: Database, files: LocalBlobs) -> None:
    any_database.run(blob_rows.reserve, tenant="default", files=[FILE])
    files.put("default", SHA256, b"the bytes", "text/plain")  # and then it died

    assert collect(any_database, files) == 0
    let_time_pass(any_database)
    assert collect(any_database, files) == 1

    assert not files.exists("default", SHA256)
    assert state(any_database) is None


def test_a_file_leaves_with_its_last_message_after_the_grace(any_database: Database, files: LocalBlobs) -> None:
    FileIngest(any_database, files).store("default", [FILE])
    send(any_database, "one", FILE)
    send(any_database, "two", FILE)
    let_time_pass(any_database)

    forget(any_database, "one")
    let_time_pass(any_database)
    assert collect(any_database, files) == 0
    let_time_pass(any_database)
    forget(any_database, "two")
    assert collect(any_database, files) == 0  # its grace begins now
    assert files.exists("default", SHA256)
    let_time_pass(any_database)

    assert collect(any_database, files) == 1
    assert not files.exists("default", SHA256)


def test_a_file_that_is_sent_again_has_its_grace_again(any_database: Database, files: LocalBlobs) -> None:
    FileIngest(any_database, files).store("default", [FILE])
    let_time_pass(any_database)

    FileIngest(any_database, files).store("default", [FILE])

    assert collect(any_database, files) == 0
    assert files.exists("default", SHA256)


def test_a_rendition_lives_as_long_as_what_it_was_made_of(any_database: Database, files: LocalBlobs) -> None:
    small = Attachment(filename="small.png", content=b"small", media_type="image/png")
    FileIngest(any_database, files).store("default", [FILE, small])
    with any_database.engine.begin() as connection:
        connection.execute(
            tables.renditions.insert().values(
                tenant="default", sha256=SHA256, kind="thumbnail", rendition_sha256=small.sha256
            )
        )
    send(any_database, "t", FILE)
    let_time_pass(any_database)
    assert collect(any_database, files) == 0

    forget(any_database, "t")
    for _ in range(4):  # note and delete the one, then the other
        collect(any_database, files)
        let_time_pass(any_database)

    assert state(any_database) is None
    assert state(any_database, str(small.sha256)) is None
    assert not files.exists("default", str(small.sha256))


# One against the other


def eventually(what: Callable[[], object]) -> None:
    until = time.monotonic() + 60
    while not what() and time.monotonic() < until:
        time.sleep(0.1)


def test_a_file_that_is_just_being_attached_is_not_marked(database: Database, files: LocalBlobs) -> None:
    FileIngest(database, files).store("default", [FILE])
    let_time_pass(database)

    with database.engine.begin() as sender:
        inbox.accept(sender, request("t", FILE))
        assert database.run(garbage_collection.mark_due, grace_days=7).addresses == ()

    assert state(database) == "stored"
    # Its next look finds the message, and forgets the grace.
    assert database.run(garbage_collection.mark_due, grace_days=7).used == 1
    assert files.exists("default", SHA256)


def test_a_senders_open_transaction_keeps_nobody_from_sending_or_preparing_the_file(
    database: Database, files: LocalBlobs
) -> None:
    FileIngest(database, files).store("default", [FILE])

    with database.engine.begin() as sender:
        inbox.accept(sender, request("t", FILE))
        FileIngest(database, files).store("default", [FILE])
        send(database, "other", FILE)
        with database.engine.begin() as worker:
            worker.execute(update(tables.blobs).values(extracted_text="what it says"))


def test_a_sender_takes_the_mark_away(any_database: Database, files: LocalBlobs) -> None:
    FileIngest(any_database, files).store("default", [FILE])
    let_time_pass(any_database)
    marked = any_database.run(garbage_collection.mark_due, grace_days=7)
    assert marked.addresses == [ADDRESS]

    FileIngest(any_database, files).store("default", [FILE])
    gone = any_database.run(garbage_collection.delete_marked, address=ADDRESS, delete_object=files.delete)

    assert not gone
    assert state(any_database) == "stored"
    assert files.get("default", SHA256) == b"the bytes"


def test_a_message_cannot_have_a_file_that_is_marked(any_database: Database, files: LocalBlobs) -> None:
    FileIngest(any_database, files).store("default", [FILE])
    let_time_pass(any_database)
    any_database.run(garbage_collection.mark_due, grace_days=7)

    with pytest.raises(FileNotStored):
        send(any_database, "t", FILE)


def test_a_sender_waits_while_the_bytes_are_deleted_and_stores_them_again(
    database: Database, files: LocalBlobs
) -> None:
    FileIngest(database, files).store("default", [FILE])
    let_time_pass(database)
    database.run(garbage_collection.mark_due, grace_days=7)
    sender = threading.Thread(target=FileIngest(database, files).store, args=("default", [FILE]))

    with database.engine.begin() as collector:
        assert garbage_collection.delete_marked(collector, ADDRESS, files.delete)
        sender.start()
        sender.join(timeout=0.5)
        assert sender.is_alive()
        assert not files.exists("default", SHA256)
    sender.join(timeout=10)

    assert state(database) == "stored"
    assert files.get("default", SHA256) == b"the bytes"


def test_a_collector_that_dies_after_the_bytes_leaves_no_row_that_claims_them(
    any_database: Database, files: LocalBlobs
) -> None:
    FileIngest(any_database, files).store("default", [FILE])
    let_time_pass(any_database)
    any_database.run(garbage_collection.mark_due, grace_days=7)

    def delete_and_die(tenant: str, sha256: str) -> None:
        files.delete(tenant, sha256)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        any_database.run(garbage_collection.delete_marked, address=ADDRESS, delete_object=delete_and_die)
    assert state(any_database) == "deleting"

    FileIngest(any_database, files).store("default", [FILE])
    send(any_database, "t", FILE)
    assert files.get("default", SHA256) == b"the bytes"


def test_a_slow_sender_does_not_confirm_the_row_of_another(database: Database, files: LocalBlobs) -> None:
    announced = database.run(blob_rows.reserve, tenant="default", files=[FILE])
    files.put("default", SHA256, b"the bytes", "text/plain")
    let_time_pass(database)
    assert collect(database, files) == 1
    database.run(blob_rows.reserve, tenant="default", files=[FILE])  # another one begins

    database.run(blob_rows.confirm, tenant="default", reservations=announced)

    assert state(database) == "pending"


@pytest.mark.soak
def test_senders_and_collectors_at_once_leave_no_message_without_its_bytes(
    database: Database, files: LocalBlobs
) -> None:
    stop, failures = threading.Event(), []

    def repeat(work: Callable[[], object]) -> None:
        while not stop.is_set():
            try:
                work()
            except FileNotStored:
                continue  # collected in between, without any grace: it is sent again
            except Exception as error:  # noqa: BLE001 - whatever it is, the test has to tell it
                failures.append(error)
                return

    def sends(name: str) -> None:
        FileIngest(database, files).store("default", [FILE])
        send(database, name, FILE)
        assert files.get("default", SHA256) == b"the bytes"
        sent.append(name)
        forget(database, name)
        stop.wait(0.01)  # now and then nobody sends, and it is collected

    sent, collected = [], []

    def collects() -> None:
        collected.append(collect(database, files, grace_days=0))

    workers = [threading.Thread(target=repeat, args=(partial(sends, f"t{number}"),)) for number in range(3)]
    workers += [threading.Thread(target=repeat, args=(collects,)) for _ in range(2)]
    for worker in workers:
        worker.start()
    stop.wait(6)
    # As long as it takes for both to have met, on a machine that is busy.
    eventually(lambda: failures or (len(sent) > 10 and sum(collected) > 10))
    stop.set()
    for worker in workers:
        worker.join(timeout=30)

    assert failures == []
    assert len(sent) > 10
    assert sum(collected) > 10


# Bytes that no row knows


def test_bytes_that_no_row_knows_leave_by_the_same_road(any_database: Database, files: LocalBlobs) -> None:
    FileIngest(any_database, files).store("default", [FILE])
    files.put("default", str(Attachment(filename="b", content=b"lost").sha256), b"lost", "text/plain")
    found = [(SHA256, 9), (str(Attachment(filename="b", content=b"lost").sha256), 4)]

    entered = any_database.run(garbage_collection.enter_unknown, tenant="default", objects=found)
    assert [sha256 for _, sha256 in entered] == [found[1][0]]
    assert collect(any_database, files) == 0  # its grace begins now
    let_time_pass(any_database)
    FileIngest(any_database, files).store("default", [FILE])
    assert collect(any_database, files) == 1

    assert not files.exists("default", found[1][0])
    assert files.exists("default", SHA256)


def test_the_rows_are_looked_through_in_pages(any_database: Database, files: LocalBlobs) -> None:
    kept = [Attachment(filename="a", content=bytes([number]) * 9) for number in range(7)]
    FileIngest(any_database, files).store("default", kept)
    with any_database.engine.begin() as connection:
        connection.execute(update(tables.blobs).values(unreferenced_since=None))

    pages, after = 0, ("", "")
    while (following := any_database.run(garbage_collection.note_unused, after=after, limit=3)) is not None:
        pages, after = pages + 1, following

    assert pages == 2
    with any_database.engine.begin() as connection:
        unnoted = select(func.count()).where(tables.blobs.c.unreferenced_since.is_(None))
        assert connection.execute(unnoted).scalar_one() == 0


def test_what_is_before_a_collection_can_be_told_without_changing_it(any_database: Database, files: LocalBlobs) -> None:
    FileIngest(any_database, files).store("default", [FILE])
    let_time_pass(any_database)
    FileIngest(any_database, files).store("default", [Attachment(filename="b", content=b"four")])

    told = any_database.run(garbage_collection.count_unused, grace_days=7)

    assert (told.due, told.due_bytes, told.in_grace, told.in_grace_bytes) == (1, 9, 1, 4)
    assert state(any_database) == "stored"


# Limits


def test_a_tenants_files_are_limited_together_and_each_is_counted_once(
    any_database: Database, files: LocalBlobs
) -> None:
    announce = partial(blob_rows.reserve, tenant="default", max_bytes=12)
    any_database.run(announce, files=[FILE])
    any_database.run(announce, files=[FILE])
    any_database.run(blob_rows.reserve, tenant="other", files=[FILE], max_bytes=12)

    with pytest.raises(LimitReached, match="THREADMILL_TENANT_MAX_BYTES"):
        any_database.run(announce, files=[Attachment(filename="b", content=b"four")])


# What a look costs


@pytest.mark.parametrize(
    ("look", "index"),
    [
        (partial(garbage_collection.mark_due, grace_days=7), "ix_blobs_unreferenced_since"),
        (partial(file_queue.load_waiting, older_than_seconds=60, limit=9, scans=True), "ix_blobs_unprepared"),
        (partial(file_queue.load_waiting, older_than_seconds=60, limit=9, scans=True), "ix_blobs_unscanned"),
        (uploads.load_expired, "ix_uploads_expires_at"),
        (partial(garbage_collection.note_unused, after=("default", SHA256)), "ix_blobs_tenant_sha256_size"),
        (partial(blob_rows.reserve, tenant="default", files=[FILE], max_bytes=10**9), "ix_blobs_tenant_sha256_size"),
    ],
)
def test_what_beat_looks_for_is_found_through_an_index(
    database: Database, look: Callable[[Connection], object], index: str
) -> None:
    def plans(connection: Connection) -> str:
        connection.execute(text("SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off"))
        asked: list[tuple[str, Any]] = []
        with heard(connection, asked):
            look(connection)
        told = [connection.exec_driver_sql(f"EXPLAIN {said}", values).scalars() for said, values in asked]
        return "\n".join(line for plan in told for line in plan)

    plan = database.run(plans)

    assert index in plan
    found = next(at for at, line in enumerate(plan.splitlines()) if index in line)
    assert "Index Cond" in plan.splitlines()[found + 1]


@contextmanager
def heard(connection: Connection, asked: list[tuple[str, Any]]) -> Iterator[None]:
    def note(_connection: object, _cursor: object, statement: str, values: Any, *_: object) -> None:
        if not statement.startswith("INSERT"):
            asked.append((statement, values))

    event.listen(connection, "before_cursor_execute", note)
    yield
    event.remove(connection, "before_cursor_execute", note)


# What cannot be deleted


def test_bytes_that_cannot_be_deleted_wait_for_a_day_and_stop_nothing_else(
    any_database: Database, files: LocalBlobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One object under a lock of its own: the run goes on, and lists the store."""
    FileIngest(any_database, files).store("default", [FILE])
    unknown = Attachment(filename="u", content=b"unknown", media_type="text/plain")
    files.put("default", str(unknown.sha256), b"unknown", "text/plain")
    settings = load(database_url=any_database.settings.database_url, file_store_url=str(tmp_path / "files"))

    refused: list[str] = []

    def refuse(_: object, tenant: str, sha256: str) -> None:
        refused.append(sha256)
        raise FileStoreUnavailable("the object is locked")

    with monkeypatch.context() as locked:
        locked.setattr(LocalBlobs, "delete", refuse)
        done = collect_files.collect(any_database, settings, grace_days=0)
        assert state(any_database) == "deleting"
        # It is not tried again at once, and then it is.
        assert collect_files.collect(any_database, settings, grace_days=0).unknown == 0

    assert (done.blobs, done.unknown) == (0, 1)
    assert sorted(refused) == sorted([SHA256, str(unknown.sha256)])
    let_time_pass(any_database)
    assert collect_files.collect(any_database, settings, grace_days=0).blobs == 2
