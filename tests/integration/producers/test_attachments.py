"""Attachments: stored before the row that points to them, under the type that their bytes are."""

import hashlib
from pathlib import Path

import pytest

from conversation.attachment import Attachment
from conversation.errors import FileStoreUnavailable
from producers.producer import Producer
from store.database.engine import Database
from store.settings import Settings, load
from tests.conftest import S3
from tests.integration.producers.backend import NOTHING, claim, counts, free_port, queued_wake_ups

EXAMPLES = Path(__file__).parents[3] / "examples" / "support"
PNG, PDF = EXAMPLES / "order-label.png", EXAMPLES / "invoice.pdf"


def test_a_picture_and_a_document_arrive_with_the_types_that_they_are(
    producer: Producer, database: Database, worker: str
) -> None:
    unnamed = Attachment(filename="scan", content=PNG.read_bytes(), media_type="application/octet-stream")

    producer.send("t", "see these", attachments=[unnamed, PDF, str(PDF)])

    (message,) = claim(database, worker, "t").window
    assert [(file.filename, file.media_type) for file in message.attachments] == [
        ("scan", "image/png"),
        ("invoice.pdf", "application/pdf"),
        ("invoice.pdf", "application/pdf"),
    ]
    for file, path in zip(message.attachments, [PNG, PDF, PDF], strict=True):
        assert file.sha256 is not None
        assert producer.blobs.get("default", file.sha256) == path.read_bytes()
    assert (counts(database)["attachments"], counts(database)["blobs"]) == (3, 2)


def test_files_alone_are_a_message(producer: Producer, database: Database, worker: str) -> None:
    producer.send("t", "", attachments=[PNG])

    (message,) = claim(database, worker, "t").window
    assert (message.content, len(message.attachments)) == ("", 1)


def test_the_same_file_of_two_tenants_is_stored_for_each(producer: Producer, database: Database) -> None:
    for tenant in ("a", "b", "a"):
        producer.send("t", "see this", attachments=[PNG], tenant=tenant)

    sha256 = hashlib.sha256(PNG.read_bytes()).hexdigest()
    assert producer.blobs.exists("a", sha256)
    assert producer.blobs.exists("b", sha256)
    assert counts(database)["blobs"] == 2


def unusable_folder(settings: Settings, tmp_path: Path) -> Settings:
    (tmp_path / "occupied").write_text("a file stands where the folder should be")
    return replaced(settings, file_store_url=str(tmp_path / "occupied" / "files"))


def read_only_folder(settings: Settings, tmp_path: Path) -> Settings:
    # /proc takes no folders from anybody, root included.
    return replaced(settings, file_store_url="/proc/threadmill")


def unreachable_s3(settings: Settings, tmp_path: Path) -> Settings:
    return replaced(
        settings,
        file_store_url="s3://bucket/prefix",
        s3_endpoint_url=f"http://127.0.0.1:{free_port()}",
        s3_access_key_id="key",
        s3_secret_access_key="secret",
    )


def replaced(settings: Settings, **values: object) -> Settings:
    return load(
        database_url=settings.database_url.get_secret_value(),
        broker_url=settings.broker_url.get_secret_value(),
        **values,
    )


@pytest.mark.parametrize("broken", [unusable_folder, read_only_folder, unreachable_s3])
async def test_a_file_store_that_fails_refuses_the_message_and_nothing_is_stored(
    settings: Settings, database: Database, worker: str, tmp_path: Path, broken: object
) -> None:
    assert callable(broken)
    producer = Producer(broken(settings, tmp_path))

    with pytest.raises(FileStoreUnavailable):
        producer.send("t", "see this", attachments=[PNG])
    with pytest.raises(FileStoreUnavailable):
        await producer.send_async("t", "see this", attachments=[PNG])

    assert (counts(database), queued_wake_ups(settings)) == (NOTHING, [])
    assert producer.send("t", "never mind the picture").is_new
    await producer.close_async()


def test_a_bucket_serves_as_well(settings: Settings, s3: S3, worker: str, database: Database) -> None:
    place = {
        "file_store_url": f"s3://{s3.bucket}/files",
        "s3_endpoint_url": s3.endpoint,
        "s3_access_key_id": s3.key,
        "s3_secret_access_key": s3.secret,
    }
    producer = Producer(replaced(settings, **place))

    producer.send("t", "see this", attachments=[PDF])

    (message,) = claim(database, worker, "t").window
    (file,) = message.attachments
    assert file.sha256 is not None
    assert producer.blobs.get("default", file.sha256) == PDF.read_bytes()
    producer.close()
