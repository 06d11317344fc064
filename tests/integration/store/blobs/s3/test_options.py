"""What the settings of S3 come to on the wire: read off the signed requests themselves."""

import hashlib
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from conversation.errors import FileStoreUnavailable
from store.blobs import S3Blobs, S3Options, open_file_store
from store.blobs.s3 import multipart
from store.blobs.s3.checksums import checksum
from store.settings import load
from tests.conftest import S3
from tests.integration.store.blobs.s3.s3_relay import Heard, S3Relay

MIB = 1024 * 1024
CONTENT = b"a file"
HASH = hashlib.sha256(CONTENT).hexdigest()
LARGE = b"0123456789abcdef" * (6 * MIB // 16)
LARGE_HASH = hashlib.sha256(LARGE).hexdigest()
ENCRYPTED = {"sse": "aws:kms", "sse_kms_key_id": "alias/files", "storage_class": "STANDARD_IA"}
ON_THE_WIRE = {
    "x-amz-server-side-encryption": "aws:kms",
    "x-amz-server-side-encryption-aws-kms-key-id": "alias/files",
    "x-amz-storage-class": "STANDARD_IA",
}


@pytest.fixture
def relay(s3: S3) -> Iterator[S3Relay]:
    with S3Relay(s3.endpoint) as relay:
        yield relay


def opened(s3: S3, relay: S3Relay, **options: Any) -> S3Blobs:
    usual = {"multipart_bytes": 5 * MIB, "part_bytes": 5 * MIB, "max_attempts": 1}
    return S3Blobs(s3.bucket, options=S3Options(relay.endpoint, s3.key, s3.secret, **{**usual, **options}))


def told(heard: Heard) -> dict[str, str]:
    """Of how an object is to be kept, what a request says and its signature covers."""
    signed = heard.headers["authorization"].partition("SignedHeaders=")[2].partition(",")[0].split(";")
    return {name: value for name, value in heard.headers.items() if name in ON_THE_WIRE and name in signed}


def test_every_request_that_makes_an_object_says_how_to_keep_it(s3: S3, relay: S3Relay) -> None:
    """The server of these tests has no encryption and refuses: what it was asked for is what counts."""
    store = opened(s3, relay, **ENCRYPTED)
    s3.client().put_object(Bucket=s3.bucket, Key="acme/staging/one", Body=CONTENT)

    for verb in (
        lambda: store.put("acme", HASH, CONTENT, "text/plain"),
        lambda: store.put("acme", LARGE_HASH, LARGE, "text/plain"),
        lambda: store.adopt_upload("acme", "one", HASH, "text/plain"),
    ):
        with pytest.raises(FileStoreUnavailable, match=r"NotImplemented|InvalidStorageClass"):
            verb()

    made = [heard for heard in relay.heard if heard.method in ("PUT", "POST")]
    assert [told(heard) for heard in made] == [ON_THE_WIRE] * 3
    assert ["x-amz-copy-source" in heard.headers for heard in made] == [False, False, True]
    # By it alone a later put can tell that the bytes are there: an ETag of KMS is no sum of them.
    assert made[0].headers["x-amz-checksum-sha256"] == checksum(HASH)
    store.close()


def test_an_upload_of_a_browser_says_how_to_keep_it(s3: S3, relay: S3Relay) -> None:
    upload = opened(s3, relay, **ENCRYPTED).upload_url(
        "acme", "one", sha256=HASH, size=6, media_type="text/plain", expires=timedelta(hours=1)
    )

    (signed,) = parse_qs(urlsplit(upload.url).query)["X-Amz-SignedHeaders"]
    assert set(signed.split(";")) == {
        "host", "content-length", "content-type", "x-amz-checksum-sha256", *ON_THE_WIRE,
    }  # fmt: skip
    assert {name: upload.headers[name] for name in ON_THE_WIRE} == ON_THE_WIRE


def test_nothing_is_said_where_nothing_is_set(s3: S3, relay: S3Relay) -> None:
    store = opened(s3, relay)

    store.put("acme", HASH, CONTENT, "text/plain")

    (made,) = [heard for heard in relay.heard if heard.method == "PUT"]
    assert told(made) == {}
    assert made.headers["x-amz-content-sha256"] == HASH
    store.close()


def test_a_storage_class_that_the_server_has_is_taken_by_every_request(
    s3: S3, relay: S3Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(multipart, "COPY_BYTES", 5 * MIB)
    store = opened(s3, relay, storage_class="STANDARD")
    s3.client().put_object(Bucket=s3.bucket, Key="acme/staging/one", Body=LARGE)

    store.put("acme", HASH, CONTENT, "text/plain")
    store.put("other", LARGE_HASH, LARGE, "text/plain")
    store.adopt_upload("acme", "one", LARGE_HASH, "text/plain")

    assert store.get("acme", HASH) == CONTENT
    assert store.get("acme", LARGE_HASH) == store.get("other", LARGE_HASH) == LARGE
    made = [heard for heard in relay.heard if "uploads" in heard.query or heard.query == {}]
    said = [told(heard) for heard in made if heard.method in ("PUT", "POST")]
    assert said == [{"x-amz-storage-class": "STANDARD"}] * 3
    store.close()


def test_the_settings_reach_the_client() -> None:
    settings = load(
        file_store_url="s3://files/kept",
        s3_endpoint_url="http://127.0.0.1:1",
        s3_connect_timeout_seconds=1.5,
        s3_read_timeout_seconds=2.5,
        s3_max_attempts=7,
        s3_part_bytes=6 * MIB,
        s3_multipart_bytes=7 * MIB,
        s3_access_key_id="k",
        s3_secret_access_key="s",
        worker_concurrency=30,
    )
    store = open_file_store(settings)
    assert isinstance(store, S3Blobs)

    config = store._bucket.get_client().meta.config

    assert (config.connect_timeout, config.read_timeout) == (1.5, 2.5)
    assert config.retries == {"mode": "standard", "total_max_attempts": 7}
    # All turns of a worker may read a file at once.
    assert config.max_pool_connections > 30
    assert (store._bucket.options.part_bytes, store._bucket.options.multipart_bytes) == (6 * MIB, 7 * MIB)
    store.close()


def test_a_part_grows_with_a_file_that_would_have_too_many(
    s3: S3, relay: S3Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(multipart, "PARTS_MAX", 1)
    store = opened(s3, relay)

    store.put("acme", LARGE_HASH, LARGE, "text/plain")

    assert relay.count("PUT", "partNumber") == 1
    assert store.get("acme", LARGE_HASH) == LARGE
    store.close()


def test_keys_are_not_shown() -> None:
    shown = repr(S3Options("http://host", "the-key", "the-secret"))

    assert "the-key" not in shown
    assert "the-secret" not in shown
