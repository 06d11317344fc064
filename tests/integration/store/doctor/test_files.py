"""Attachments, rows of blobs, and bytes: what is missing on one side, and what only looks like it."""

import hashlib
from collections.abc import Iterator

import pytest
from sqlalchemy import select, update

from conversation.attachment import Attachment
from store import tables
from store.blobs import BlobStore, LocalBlobs, S3Blobs, S3Options
from store.doctor import Outcome
from store.files import garbage_collection
from store.files.blob_rows import reserve
from store.retention import delete_thread
from tests.conftest import S3
from tests.integration.store.doctor.conftest import LONG_AGO, Site, outcomes

pytestmark = pytest.mark.soak

CONTENT = b"%PDF-1.7\n%nothing more"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def blob(site: Site, sha256: str) -> object:
    rows = site.rows(select(tables.blobs).where(tables.blobs.c.sha256 == sha256))
    return rows[0] if rows else None


def forget_thread(site: Site, thread: str = "t") -> None:
    """Its blob is left without a message."""
    site.database.run(lambda connection: delete_thread.delete_thread(connection, "default", thread))


def test_files_with_rows_and_rows_with_files_are_no_finding(site: Site) -> None:
    site.save_file(b"one", "a")
    site.save_file(b"two", "b")
    site.save_file(b"two", "c")
    site.save_file(b"three", "gone")
    forget_thread(site, "gone")
    site.database.run(garbage_collection.note_unused)

    assert site.repaired() == {}


def test_an_attachment_whose_blob_has_no_row_gets_it_back_from_the_bytes(site: Site) -> None:
    sha256 = site.save_file(CONTENT)
    site.lose_blob_row(sha256)

    mended = site.repaired("attachment-without-blob")

    (note,) = mended["attachment-without-blob"]
    assert (note.finding.ids["sha256"], note.outcome) == (sha256, Outcome.REPAIRED)
    row = site.rows(select(tables.blobs))[0]
    assert (row.size, row.media_type, row.state) == (len(CONTENT), "application/pdf", "stored")
    assert site.found() == {}


def test_an_attachment_without_row_and_bytes_can_only_be_told(site: Site) -> None:
    sha256 = site.save_file()
    site.lose_blob_row(sha256)
    site.files.delete("default", sha256)

    mended = site.repaired()

    assert outcomes(mended) == {"attachment-without-blob": [Outcome.LEFT]}
    assert mended["attachment-without-blob"][0].finding.ids["thread"] == "t"


def test_a_row_whose_bytes_are_missing_stays_while_a_message_has_it(site: Site) -> None:
    sha256 = site.save_file()
    site.files.delete("default", sha256)

    (note,) = site.repaired()["blob-without-object"]

    assert (note.finding.ids["sha256"], note.outcome) == (sha256, Outcome.LEFT)
    assert "message" in note.finding.ids
    assert blob(site, sha256) is not None
    # The same file, stored again, is whole again.
    site.save_file(thread="again")
    assert site.found() == {}


def test_a_row_whose_bytes_are_missing_goes_if_no_message_has_it(site: Site) -> None:
    sha256 = site.save_file()
    site.files.delete("default", sha256)
    forget_thread(site)

    mended = site.repaired()

    assert outcomes(mended) == {"blob-without-object": [Outcome.REPAIRED]}
    assert blob(site, sha256) is None
    assert site.found() == {}


def test_a_row_stays_whose_bytes_or_message_came_back_before_the_repair(site: Site) -> None:
    for thread in ("bytes", "message"):
        sha256 = site.save_file(thread.encode(), thread)
        site.files.delete("default", sha256)
        forget_thread(site, thread)
    examination = site.examination("blob-without-object")
    look, (check,) = examination.start_inspection(), examination.choose_checks()
    assert check.repair is not None
    findings = list(check.find(look))
    assert [finding.is_repairable for finding in findings] == [True, True]

    site.files.put("default", hashlib.sha256(b"bytes").hexdigest(), b"bytes", "text/plain")
    message = site.save_file(b"message", "again")
    site.files.delete("default", message)

    assert [check.repair(look, finding) for finding in findings] == [None, None]
    assert len(site.rows(select(tables.blobs))) == 2


def test_bytes_that_no_row_knows_get_a_row_and_leave_with_retention(site: Site) -> None:
    site.save_file()
    site.files.put("default", SHA256, CONTENT, "application/pdf")

    mended = site.repaired()

    (note,) = mended["object-without-blob"]
    assert (note.finding.ids, note.outcome) == ({"tenant": "default", "sha256": SHA256}, Outcome.REPAIRED)
    row = site.rows(select(tables.blobs).where(tables.blobs.c.sha256 == SHA256))[0]
    assert (row.size, row.media_type) == (len(CONTENT), "application/pdf")
    assert site.files.exists("default", SHA256)
    assert site.found() == {}
    site.collect()
    assert not site.files.exists("default", SHA256)
    assert site.found() == {}


def test_damaged_bytes_that_no_row_knows_are_told_and_stay(site: Site, files: LocalBlobs) -> None:
    site.save_file()
    site.files.put("default", SHA256, CONTENT, "application/pdf")
    (files.base / "default" / "sha256" / SHA256[:2] / SHA256[2:]).write_bytes(b"something else")

    (note,) = site.repaired()["object-without-blob"]

    assert note.outcome is Outcome.FAILED
    assert "damaged" in note.result
    assert blob(site, SHA256) is None


def test_bytes_that_no_row_knows_are_found_for_every_tenant(site: Site) -> None:
    for tenant in ("acme", "zenith"):
        site.send(thread=tenant, tenant=tenant)
        site.files.put(tenant, SHA256, CONTENT, "application/pdf")

    notes = site.repaired()["object-without-blob"]

    assert [note.finding.ids["tenant"] for note in notes] == ["acme", "zenith"]
    assert [row.tenant for row in site.rows(select(tables.blobs.c.tenant))] == ["acme", "zenith"]
    assert site.found() == {}


def test_a_blob_that_retention_is_deleting_right_now_is_no_finding(postgres_site: Site) -> None:
    site = postgres_site
    sha256 = site.save_file()
    forget_thread(site)
    site.database.run(garbage_collection.note_unused)
    (address,) = site.database.run(garbage_collection.mark_due, grace_days=0).addresses

    with site.database.engine.begin() as connection:
        assert garbage_collection.delete_marked(connection, address, site.files.delete)
        assert not site.files.exists("default", sha256)

        assert site.found("blob-without-object") == {}

    assert site.found() == {}


class Uploading:
    """A file store whose next listing is followed by the row of what it listed."""

    def __init__(self, site: Site, inner: BlobStore) -> None:
        self._site = site
        self._inner = inner

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    def list(self, tenant: str) -> Iterator[str]:
        found = list(self._inner.list(tenant))
        self._site.files = self._inner
        self._site.save_file(CONTENT, "sent-meanwhile")
        yield from found


def test_a_file_whose_message_is_just_being_sent_is_no_finding(site: Site) -> None:
    site.send()
    site.files.put("default", SHA256, CONTENT, "application/pdf")
    site.files = Uploading(site, site.files)  # type: ignore[assignment]

    assert site.found("object-without-blob") == {}
    assert blob(site, SHA256) is not None


def test_bytes_that_a_listing_does_not_show_yet_are_no_finding(site: Site) -> None:
    class Lagging:
        def __init__(self, inner: BlobStore) -> None:
            self._inner = inner

        def __getattr__(self, name: str) -> object:
            return getattr(self._inner, name)

        def list(self, tenant: str) -> Iterator[str]:
            return iter(())

    site.save_file()
    site.files = Lagging(site.files)  # type: ignore[assignment]

    assert site.found() == {}


def test_a_blob_that_is_being_deleted_for_long_is_deleted(site: Site) -> None:
    used, unused = site.save_file(b"used", "a"), site.save_file(b"unused", "b")
    forget_thread(site, "b")
    site.write(
        update(tables.blobs)
        .where(tables.blobs.c.sha256 == unused)
        .values(state="deleting", unreferenced_since=LONG_AGO)
    )

    mended = site.repaired()

    assert outcomes(mended) == {"blob-left-deleting": [Outcome.REPAIRED]}
    assert [row.sha256 for row in site.rows(select(tables.blobs))] == [used]
    assert not site.files.exists("default", unused)
    assert site.found() == {}


def test_a_row_that_was_there_before_its_bytes_is_marked_as_stored(site: Site) -> None:
    came, missing = site.save_file(b"came", "a"), site.save_file(b"missing", "b")
    site.write(update(tables.blobs).values(state="pending"))
    site.files.delete("default", missing)

    mended = site.repaired("blob-left-pending")

    assert outcomes(mended) == {"blob-left-pending": [Outcome.REPAIRED]}
    assert {row.sha256: row.state for row in site.rows(select(tables.blobs))} == {came: "stored", missing: "pending"}
    assert [note.finding.ids["sha256"] for note in site.found()["blob-without-object"]] == [missing]


def test_a_file_that_is_just_being_stored_is_no_finding(site: Site) -> None:
    site.save_file()
    file = Attachment(filename="b.txt", content=b"on its way", media_type="text/plain")
    site.database.run(reserve, tenant="default", files=[file])

    assert site.found() == {}


def test_only_the_files_of_the_tenant_that_was_asked_for_are_looked_at(site: Site) -> None:
    site.save_file()
    site.files.put("acme", SHA256, CONTENT, "application/pdf")
    site.files.put("default", SHA256, CONTENT, "application/pdf")

    found = site.found("object-without-blob", tenant="acme")

    assert [note.finding.ids["tenant"] for note in found["object-without-blob"]] == ["acme"]


def test_the_comparison_of_files_is_bounded(site: Site) -> None:
    for index in range(6):
        site.save_file(f"file {index}".encode(), f"t{index}")

    (result,) = site.examine("blob-without-object", objects=5)

    assert (result.notes, result.bounds_reached) == ([], {"objects"})


def test_a_file_store_that_is_away_takes_no_other_check_along(site: Site) -> None:
    class Away:
        def __getattr__(self, name: str) -> object:
            away = S3Options("http://127.0.0.1:1", max_attempts=1)
            return getattr(S3Blobs("none", options=away), name)

    site.save_file()
    site.answered()
    site.change(last_seq=1)
    site.files = Away()  # type: ignore[assignment]

    results = {result.check.name: result for result in site.examine(repairs=True)}

    assert [name for name, result in results.items() if result.problem] == [
        "blob-without-object",
        "object-without-blob",
    ]
    assert results["last-seq-behind"].notes[0].outcome is Outcome.REPAIRED


def test_files_in_a_bucket_are_compared_as_those_in_a_folder(postgres_site: Site, s3: S3) -> None:
    site = postgres_site
    site.files = S3Blobs(s3.bucket, options=S3Options(s3.endpoint, s3.key, s3.secret))
    kept, lost = site.save_file(b"kept", "a"), site.save_file(b"lost", "b")
    site.files.delete("default", lost)
    site.files.put("default", SHA256, CONTENT, "application/pdf")

    found = site.repaired()

    assert outcomes(found) == {"blob-without-object": [Outcome.LEFT], "object-without-blob": [Outcome.REPAIRED]}
    assert site.files.get("default", kept) == b"kept"
    site.files.close()
