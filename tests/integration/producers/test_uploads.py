"""Files that a client puts into the store by itself, over real HTTP, and what hostile ones get."""

import hashlib
import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, select, update

from conversation.attachment import Attachment
from conversation.errors import (
    FileNotReady,
    FileNotStored,
    FileRejected,
    FileStoreUnavailable,
    InvalidInput,
    LimitReached,
    UploadIncomplete,
    UploadNotFound,
    UploadsNotSupported,
)
from producers.producer import Producer
from producers.uploads import Upload
from store import tables
from store.database.engine import Database
from store.files import uploads
from store.settings import Settings
from tasks.jobs import expire_uploads
from tasks.jobs.expire_uploads import FAILURES_MAX, run_expiry
from tests.conftest import S3
from tests.integration.producers.backend import claim
from tests.unit.store.media_types.macro_forms import with_project_in_the_middle
from tests.uploads import uploaded_size

pytestmark = pytest.mark.soak

TEXT = b"The quick brown fox.\n" * 100
SHA256 = hashlib.sha256(TEXT).hexdigest()
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def on_s3(settings: Settings, s3: S3) -> Settings:
    return settings.model_copy(
        update={
            "file_store_url": f"s3://{s3.bucket}/files",
            "s3_endpoint_url": s3.endpoint,
            "s3_access_key_id": s3.key,
            "s3_secret_access_key": type(settings.s3_secret_access_key)(s3.secret),
        }
    )


@pytest.fixture
def site(on_s3: Settings, worker: str) -> Iterator[Producer]:
    producer = Producer(on_s3)
    yield producer
    producer.blobs.close()
    producer.close()


def put(upload: Upload, body: bytes, headers: Mapping[str, str] | None = None) -> int:
    """As a browser does; gives the HTTP status."""
    request = urllib.request.Request(
        upload.url, data=body, method=upload.method, headers=dict(upload.headers if headers is None else headers)
    )
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def created(site: Producer, body: bytes = TEXT, filename: str = "fox.txt", **said: Any) -> Upload:
    values = {"media_type": "text/plain", "size": len(body), "sha256": hashlib.sha256(body).hexdigest()}
    return site.uploads.create(filename, **(values | said))


def count(site: Producer, table: Any) -> int:
    statement = select(func.count()).select_from(table)
    return site.database.run(lambda connection: int(connection.execute(statement).scalar_one()))


def test_a_client_puts_a_file_and_a_message_has_it(site: Producer, database: Database, worker: str) -> None:
    upload = created(site)

    assert put(upload, TEXT) in (200, 201)
    file = site.uploads.complete(upload.id)
    site.send("t", "see this", attachments=[file])

    assert (file.filename, file.media_type, file.size, file.sha256) == ("fox.txt", "text/plain", len(TEXT), SHA256)
    (message,) = claim(database, worker, "t").window
    assert [attached.sha256 for attached in message.attachments] == [SHA256]
    assert site.blobs.get("default", SHA256) == TEXT
    with urllib.request.urlopen(site.uploads.url(file, expires=MINUTE), timeout=20) as answer:
        assert answer.read() == TEXT
        assert answer.headers["Content-Disposition"].startswith('attachment; filename="fox.txt"')


def test_completing_twice_is_completing_once(site: Producer) -> None:
    upload = created(site)
    put(upload, TEXT)

    assert site.uploads.complete(upload.id) == site.uploads.complete(upload.id)
    assert count(site, tables.blobs) == 1


def test_two_that_complete_at_once_both_get_the_file(site: Producer, monkeypatch: pytest.MonkeyPatch) -> None:
    upload = created(site)
    put(upload, TEXT)
    read = site.blobs.read_upload

    def completed_by_another(tenant: str, upload_id: str) -> Any:
        with monkeypatch.context() as first:
            first.setattr(site.blobs, "read_upload", read)
            site.uploads.complete(upload.id)
        return read(tenant, upload_id)

    monkeypatch.setattr(site.blobs, "read_upload", completed_by_another)

    assert site.uploads.complete(upload.id).sha256 == SHA256


def test_what_was_put_is_gone_from_staging_when_it_is_complete(site: Producer) -> None:
    upload = created(site)
    put(upload, TEXT)
    site.uploads.complete(upload.id)

    assert uploaded_size(site.blobs, "default", upload.id) is None


def test_a_completion_that_died_at_any_step_is_done_again(site: Producer, monkeypatch: pytest.MonkeyPatch) -> None:
    upload = created(site)
    put(upload, TEXT)
    for step in ("adopt_upload", "discard_upload"):
        with monkeypatch.context() as broken:
            broken.setattr(site.blobs, step, partial(_die, step))
            with pytest.raises(KeyboardInterrupt):
                site.uploads.complete(upload.id)

    assert site.uploads.complete(upload.id).sha256 == SHA256
    assert site.blobs.get("default", SHA256) == TEXT


def _die(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_before_the_file_is_there_nothing_is_complete(site: Producer) -> None:
    upload = created(site)

    with pytest.raises(UploadIncomplete, match="nothing was put yet"):
        site.uploads.complete(upload.id)

    assert put(upload, TEXT) in (200, 201)
    assert site.uploads.complete(upload.id).sha256 == SHA256


@pytest.mark.parametrize("body", [TEXT[:-1], TEXT + b"!", b"x" * len(TEXT)], ids=["shorter", "longer", "other"])
def test_other_bytes_than_promised_are_refused_and_change_nothing(site: Producer, body: bytes) -> None:
    upload = created(site)

    if put(upload, body) in (200, 201):  # not every server looks at everything that was signed
        with pytest.raises(UploadIncomplete, match="put the file again"):
            site.uploads.complete(upload.id)
    else:
        with pytest.raises(UploadIncomplete):
            site.uploads.complete(upload.id)

    assert count(site, tables.blobs) == 0
    assert not site.blobs.exists("default", SHA256)
    assert put(upload, TEXT) in (200, 201)
    assert site.uploads.complete(upload.id).sha256 == SHA256


def test_the_address_is_good_for_its_own_key_only(site: Producer) -> None:
    upload, other = created(site), created(site)
    moved = Upload(
        id=upload.id,
        method=upload.method,
        url=upload.url.replace(upload.id, other.id),
        headers=upload.headers,
        expires_at=upload.expires_at,
    )

    assert put(moved, TEXT) == 403
    with pytest.raises(UploadIncomplete):
        site.uploads.complete(other.id)


def test_a_web_page_that_says_it_is_a_picture_is_refused(site: Producer) -> None:
    page = b"<html><script>alert(1)</script></html>"
    upload = created(site, page, "cat.png", media_type="image/png")
    assert put(upload, page) in (200, 201)

    with pytest.raises(FileRejected, match="called image/png"):
        site.uploads.complete(upload.id)

    assert count(site, tables.blobs) == 0


def test_macros_in_the_middle_of_a_large_document_are_found(site: Producer) -> None:
    content = with_project_in_the_middle()
    upload = created(site, content, "invoice.docx", media_type="application/octet-stream")
    assert put(upload, content) in (200, 201)

    with pytest.raises(FileRejected, match="macroenabled"):
        site.uploads.complete(upload.id)

    assert count(site, tables.blobs) == 0


def test_a_script_is_saved_under_a_name_that_no_system_runs(site: Producer) -> None:
    upload = created(site, TEXT, "run.bat")
    put(upload, TEXT)
    file = site.uploads.complete(upload.id)

    with urllib.request.urlopen(site.uploads.url(file, expires=MINUTE, inline=True), timeout=20) as answer:
        assert answer.headers["Content-Disposition"].startswith('attachment; filename="run.bat.txt"')


def test_an_upload_belongs_to_its_tenant(site: Producer) -> None:
    upload = created(site, tenant="acme")
    put(upload, TEXT)

    with pytest.raises(UploadNotFound):
        site.uploads.complete(upload.id)

    file = site.uploads.complete(upload.id, tenant="acme")
    with pytest.raises(InvalidInput, match=r"attachments\.content"):
        site.send("t", "mine now", attachments=[Attachment(filename="x.txt", sha256=file.sha256)])
    with pytest.raises(FileNotStored):
        site.uploads.url(file, expires=MINUTE)


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ("size", {"size": 0}),
        ("size", {"size": "12"}),
        ("sha256", {"sha256": "no hash"}),
        ("media_type", {"media_type": "picture"}),
        ("tenant", {"tenant": "../acme"}),
    ],
)
def test_what_makes_no_sense_is_refused_by_its_field(site: Producer, field: str, said: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as refused:
        created(site, **said)

    assert refused.value.field == field
    assert count(site, tables.uploads) == 0


def test_a_file_above_the_limit_gets_no_address(site: Producer, on_s3: Settings) -> None:
    with pytest.raises(FileRejected, match="THREADMILL_UPLOAD_MAX_BYTES"):
        created(site, size=on_s3.upload_max_bytes + 1)


def test_uploads_that_wait_count_against_the_tenants_limit(on_s3: Settings, worker: str) -> None:
    site = Producer(on_s3.model_copy(update={"tenant_max_bytes": len(TEXT) + 10}))
    created(site)

    with pytest.raises(LimitReached, match="THREADMILL_TENANT_MAX_BYTES"):
        created(site)

    created(site, tenant="other")
    site.close()


def test_an_upload_that_is_over_leaves_nothing(site: Producer, on_s3: Settings) -> None:
    late, early = created(site), created(site)
    put(late, TEXT)
    put(early, TEXT)
    site.uploads.complete(early.id)
    put(early, TEXT)  # its address is still good
    everything_is_over(site)

    assert expired(site, on_s3) == 2

    assert count(site, tables.uploads) == 0
    assert uploaded_size(site.blobs, "default", late.id) is None
    assert uploaded_size(site.blobs, "default", early.id) is None
    assert site.blobs.exists("default", SHA256)
    with pytest.raises(UploadNotFound, match="has expired"):
        site.uploads.complete(late.id)
    assert expired(site, on_s3) == 0


def test_what_a_late_client_put_for_a_forgotten_upload_is_removed(
    site: Producer, on_s3: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    forgotten, fresh = created(site), created(site)
    everything_is_over(site)
    assert expired(site, on_s3) == 2
    put(forgotten, TEXT)
    assert expired(site, on_s3) == 0
    assert uploaded_size(site.blobs, "default", forgotten.id) == len(TEXT)  # it may belong to one to come

    monkeypatch.setattr(uploads, "LATE_SECONDS", -on_s3.upload_max_age_seconds)
    assert expired(site, on_s3) == 0

    assert uploaded_size(site.blobs, "default", forgotten.id) is None
    assert uploaded_size(site.blobs, "default", fresh.id) is None


def test_an_upload_that_just_expired_may_still_be_completed(site: Producer, on_s3: Settings) -> None:
    """Who began in time may be slow."""
    upload = created(site)
    put(upload, TEXT)
    a_while_ago = datetime.now(UTC) - timedelta(minutes=10)
    site.database.run(lambda c: c.execute(update(tables.uploads).values(expires_at=a_while_ago)))

    assert expired(site, on_s3) == 0
    assert site.uploads.complete(upload.id).sha256 == SHA256


def test_uploads_that_cannot_be_removed_stop_no_others(
    site: Producer, on_s3: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each may wait for its time-outs: some in a row end the run, and the next one goes on behind them."""
    stuck = {created(site).id for _ in range(FAILURES_MAX)}
    everything_is_over(site)
    created(site)
    scarcely = LONG_AGO + timedelta(days=1)
    late = update(tables.uploads).where(tables.uploads.c.id.not_in(stuck)).values(expires_at=scarcely)
    site.database.run(lambda c: c.execute(late))
    discard = type(site.blobs).discard_upload

    def refuse(self: Any, tenant: str, upload_id: str) -> None:
        if upload_id in stuck:
            raise FileStoreUnavailable("access denied")
        discard(self, tenant, upload_id)

    with monkeypatch.context() as locked:
        locked.setattr(type(site.blobs), "discard_upload", refuse)
        first = expire_uploads.run_scheduled_expiry(site.database, on_s3, {})
        second = expire_uploads.run_scheduled_expiry(site.database, on_s3, json.loads(json.dumps(first)))

    assert (first["expired"], first["failed"], second["expired"], second["failed"]) == (0, FAILURES_MAX, 1, 0)
    third = expire_uploads.run_scheduled_expiry(site.database, on_s3, second)
    assert third == {"expired": FAILURES_MAX, "failed": 0, "answers": 0, "over_after": None, "strays_after": ""}


def test_a_file_store_that_is_away_is_an_error_of_the_run(
    site: Producer, on_s3: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise FileStoreUnavailable("no answer")

    monkeypatch.setattr(type(site.blobs), "list_tenants", away)

    with pytest.raises(FileStoreUnavailable):
        run_expiry(site.database, on_s3)


def test_strays_are_looked_for_in_so_many_tenants_a_run(
    site: Producer, on_s3: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for tenant in ("acme", "acme-west", "beta"):
        site.blobs.put(tenant, SHA256, TEXT, "text/plain")
    monkeypatch.setattr(expire_uploads, "STRAY_TENANTS_MAX", 2)

    first = expire_uploads.run_scheduled_expiry(site.database, on_s3, {})
    assert first["strays_after"] == "acme-west"
    assert expire_uploads.run_scheduled_expiry(site.database, on_s3, first)["strays_after"] == ""


def expired(site: Producer, settings: Settings) -> int:
    return run_expiry(site.database, settings).expired


def everything_is_over(site: Producer) -> None:
    site.database.run(lambda c: c.execute(update(tables.uploads).values(expires_at=LONG_AGO)))


@pytest.mark.parametrize("upload_id", ["", "x", "../../etc/passwd", str(UUID(int=7)), "a" * 4096])
def test_an_upload_that_never_was_is_not_found(site: Producer, upload_id: str) -> None:
    with pytest.raises(UploadNotFound):
        site.uploads.complete(upload_id)


def test_a_folder_takes_no_uploads_and_says_what_does(producer: Producer) -> None:
    with pytest.raises(UploadsNotSupported, match="s3://bucket/prefix"):
        created(producer)

    assert count(producer, tables.uploads) == 0


def test_addresses_are_secrets_and_not_shown(site: Producer) -> None:
    upload = created(site)

    assert "http" not in repr(upload)
    assert "ignature" not in repr(upload)


# Downloads


def test_a_file_that_was_not_scanned_yet_or_is_infected_is_not_handed_out(
    producer: Producer, settings: Settings
) -> None:
    file = Attachment(filename="fox.txt", content=TEXT, media_type="text/plain")
    producer.send("t", "see", attachments=[file])
    assert producer.uploads.url(file, expires=MINUTE).startswith("file://")

    scanning = Producer(settings.model_copy(update={"scanner_url": "clamd://127.0.0.1:1"}))
    for scan in (None, "pending"):
        producer.database.run(lambda c, scan=scan: c.execute(update(tables.blobs).values(scan=scan)))
        with pytest.raises(FileNotReady):
            scanning.uploads.url(file, expires=MINUTE)
        with pytest.raises(FileNotReady):
            scanning.uploads.thumbnail_url(file, expires=MINUTE)
    scanning.close()
    producer.database.run(lambda c: c.execute(update(tables.blobs).values(scan="infected", scan_finding="Eicar")))
    with pytest.raises(FileRejected, match="infected"):
        producer.uploads.url(file, expires=MINUTE)
    with pytest.raises(FileRejected, match="infected"):
        producer.uploads.thumbnail_url(file, expires=MINUTE)


def test_only_a_picture_is_shown_in_the_page(site: Producer) -> None:
    page = b"<html><body>hello</body></html>"
    upload = created(site, page, "page.html", media_type="text/html")
    put(upload, page)
    file = site.uploads.complete(upload.id)

    with urllib.request.urlopen(site.uploads.url(file, expires=MINUTE, inline=True), timeout=20) as answer:
        assert answer.headers["Content-Disposition"].startswith("attachment")
        assert "html" not in answer.headers["Content-Type"]
