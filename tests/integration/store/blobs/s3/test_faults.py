"""An S3 server that is busy, slow, broken off, or emptied behind our back, in front of a real one."""

import hashlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from conversation.errors import FileNotStored, FileStoreUnavailable
from store.blobs import S3Blobs, S3Options
from tests.conftest import S3
from tests.integration.store.blobs.s3.s3_relay import Busy, Cut, HangUp, Heard, Late, S3Relay

pytestmark = pytest.mark.soak

CONTENT = b"0123456789abcdef" * 200_000
HASH = hashlib.sha256(CONTENT).hexdigest()
MIB = 1024 * 1024
#: Two parts of the least size, and a third.
LARGE = b"0123456789abcdef" * (11 * MIB // 16)
LARGE_HASH = hashlib.sha256(LARGE).hexdigest()


@pytest.fixture
def relay(s3: S3) -> Iterator[S3Relay]:
    with S3Relay(s3.endpoint) as relay:
        yield relay


@pytest.fixture
def store(s3: S3, relay: S3Relay) -> Iterator[S3Blobs]:
    opened = through(s3, relay)
    yield opened
    opened.close()


def through(s3: S3, relay: S3Relay, **options: Any) -> S3Blobs:
    usual = {"max_attempts": 3, "read_timeout_seconds": 1, "multipart_bytes": 6 * MIB, "part_bytes": 5 * MIB}
    return S3Blobs(s3.bucket, options=S3Options(relay.endpoint, s3.key, s3.secret, **{**usual, **options}))


def put(store: S3Blobs, content: bytes = CONTENT) -> None:
    store.put("acme", hashlib.sha256(content).hexdigest(), content, "text/plain")


def keys(s3: S3) -> list[str]:
    return [item["Key"] for item in s3.client().list_objects_v2(Bucket=s3.bucket).get("Contents", ())]


def unfinished(s3: S3) -> int:
    return len(s3.client().list_multipart_uploads(Bucket=s3.bucket).get("Uploads", ()))


def test_a_busy_server_is_asked_again(store: S3Blobs, relay: S3Relay) -> None:
    relay.fail("PUT", Busy(), Busy())

    put(store)

    assert store.get("acme", HASH) == CONTENT
    assert relay.count("PUT") == 3


@pytest.mark.parametrize(("verb", "method"), [("put", "PUT"), ("get", "GET"), ("delete", "DELETE")])
def test_a_server_that_stays_busy_is_told_by_its_own_word(
    store: S3Blobs, relay: S3Relay, verb: str, method: str
) -> None:
    put(store, b"another")
    before = relay.count(method)
    relay.fail(method, *[Busy()] * 9)
    verbs = {"put": put, "get": lambda one: one.get("acme", HASH), "delete": lambda one: one.delete("acme", HASH)}

    with pytest.raises(FileStoreUnavailable, match=r"the server answered SlowDown to \w+; try again"):
        verbs[verb](store)

    assert relay.count(method) - before == 3


def test_a_put_that_was_refused_leaves_nothing(store: S3Blobs, relay: S3Relay, s3: S3) -> None:
    relay.fail("PUT", Busy(), Busy(), Busy())

    with pytest.raises(FileStoreUnavailable):
        put(store)

    assert keys(s3) == []


def test_a_connection_that_is_ended_is_opened_again(store: S3Blobs, relay: S3Relay) -> None:
    relay.fail("PUT", HangUp())
    put(store)
    relay.fail("GET", HangUp())

    assert store.get("acme", HASH) == CONTENT


def test_a_server_that_is_late_once_is_asked_again(store: S3Blobs, relay: S3Relay) -> None:
    put(store)
    relay.fail("GET", Late(2))

    assert store.get("acme", HASH) == CONTENT
    assert relay.count("GET") == 2


def test_a_server_that_is_always_late_is_given_up(store: S3Blobs, relay: S3Relay) -> None:
    put(store)
    relay.fail("GET", Late(2), Late(2), Late(2))

    started = time.monotonic()
    with pytest.raises(FileStoreUnavailable, match="Read timeout"):
        store.get("acme", HASH)

    assert time.monotonic() - started < 10


def test_a_body_that_breaks_off_is_read_on_where_it_broke(store: S3Blobs, relay: S3Relay) -> None:
    put(store)
    relay.fail("GET", Cut(1_500_000), Cut(100))

    assert store.get("acme", HASH) == CONTENT
    ranges = [heard.headers.get("range") for heard in relay.heard if heard.method == "GET"]
    assert ranges[0] is None
    assert all(span and span.startswith("bytes=") for span in ranges[1:])
    assert len(ranges) == 3


def test_a_body_that_always_breaks_off_is_never_handed_out(store: S3Blobs, relay: S3Relay) -> None:
    put(store)
    relay.fail("GET", *[Cut(1000)] * 9)

    with pytest.raises(FileStoreUnavailable):
        store.get("acme", HASH)
    relay.fail("GET", *[Cut(1000)] * 9)
    with pytest.raises(FileStoreUnavailable), store.open("acme", HASH) as pieces:
        list(pieces)

    assert relay.count("GET") == 2 * 3


def test_a_blob_that_is_replaced_while_it_is_read_is_not_mixed(store: S3Blobs, relay: S3Relay, s3: S3) -> None:
    put(store)
    (key,) = keys(s3)

    def replaced_after_the_break(heard: Heard) -> Cut | None:
        if "range" not in heard.headers:
            return Cut(1_500_000)
        s3.client().put_object(Bucket=s3.bucket, Key=key, Body=CONTENT[::-1])
        return None

    relay.fault = replaced_after_the_break

    with pytest.raises(FileStoreUnavailable, match="PreconditionFailed"):
        store.get("acme", HASH)


def test_a_blob_that_was_lost_behind_our_back_is_not_stored(store: S3Blobs, s3: S3) -> None:
    put(store)
    (key,) = keys(s3)
    s3.client().delete_object(Bucket=s3.bucket, Key=key)

    with pytest.raises(FileNotStored, match="is not stored"):
        store.get("acme", HASH)
    with pytest.raises(FileNotStored, match="is not stored"), store.open("acme", HASH):
        pass


def test_an_object_in_parts_survives_a_busy_server(store: S3Blobs, relay: S3Relay, s3: S3) -> None:
    relay.fail("PUT", None, Busy(), HangUp(), query="partNumber")

    put(store, LARGE)

    assert store.get("acme", LARGE_HASH) == LARGE
    assert unfinished(s3) == 0
    assert relay.count("PUT", "partNumber") == 3 + 2


def test_an_object_in_parts_that_dies_in_the_middle_is_dropped(store: S3Blobs, relay: S3Relay, s3: S3) -> None:
    relay.fail("PUT", None, Busy(), Busy(), Busy(), query="partNumber")

    with pytest.raises(FileStoreUnavailable, match="SlowDown to UploadPart"):
        put(store, LARGE)

    assert keys(s3) == []
    assert unfinished(s3) == 0
    assert not store.exists("acme", LARGE_HASH)


def test_an_object_in_parts_whose_end_fails_is_not_seen_and_can_be_put_again(
    store: S3Blobs, relay: S3Relay, s3: S3
) -> None:
    relay.fail("POST", Busy(), Busy(), Busy(), query="uploadId")

    with pytest.raises(FileStoreUnavailable, match="SlowDown to CompleteMultipartUpload"):
        put(store, LARGE)
    assert (keys(s3), unfinished(s3)) == ([], 0)

    put(store, LARGE)
    assert store.get("acme", LARGE_HASH) == LARGE


def test_parts_that_cannot_be_dropped_hide_no_error_and_go_with_the_tenant(
    store: S3Blobs, relay: S3Relay, s3: S3
) -> None:
    relay.fault = lambda heard: Busy() if heard.method == "DELETE" or heard.query.get("partNumber") == ["2"] else None
    with pytest.raises(FileStoreUnavailable, match="SlowDown to UploadPart"):
        put(store, LARGE)
    assert (keys(s3), unfinished(s3)) == ([], 1)

    relay.fault = lambda heard: None
    assert store.delete_tenant("acme") == 0

    assert unfinished(s3) == 0


DIES_BETWEEN_PARTS = """
import hashlib, os, signal, sys
from store.blobs import S3Blobs, S3Options

def die(params, **_):
    if params["PartNumber"] == 2:
        os.kill(os.getpid(), signal.SIGKILL)

endpoint, key, secret, bucket = sys.argv[1:]
part = 5 * 1024 * 1024
store = S3Blobs(bucket, options=S3Options(endpoint, key, secret, multipart_bytes=part, part_bytes=part))
store._bucket.get_client().meta.events.register("provide-client-params.s3.UploadPart", die)
content = b"0123456789abcdef" * (11 * 1024 * 1024 // 16)
store.put("acme", hashlib.sha256(content).hexdigest(), content, "text/plain")
"""


def test_a_process_that_dies_between_two_parts_leaves_nothing_to_be_seen(store: S3Blobs, s3: S3) -> None:
    arguments = [s3.endpoint, s3.key, s3.secret, s3.bucket]
    died = subprocess.run([sys.executable, "-c", DIES_BETWEEN_PARTS, *arguments], check=False)
    assert died.returncode == -signal.SIGKILL
    assert (keys(s3), unfinished(s3)) == ([], 1)

    put(store, LARGE)

    assert store.get("acme", LARGE_HASH) == LARGE
    assert store.delete_tenant("acme") == 1
    assert (keys(s3), unfinished(s3)) == ([], 0)


def test_a_deletion_that_was_refused_is_told_and_can_be_repeated(store: S3Blobs, relay: S3Relay, s3: S3) -> None:
    put(store)
    relay.fail("GET", *[Busy()] * 3, query="versioning")

    with pytest.raises(FileStoreUnavailable, match="SlowDown to GetBucketVersioning"):
        store.delete("acme", HASH)
    assert store.exists("acme", HASH)

    store.delete("acme", HASH)
    assert keys(s3) == []


def test_wrong_credentials_are_told_and_not_tried_again(s3: S3, relay: S3Relay) -> None:
    store = through(S3(s3.endpoint, s3.key, "wr0ng", s3.bucket), relay)

    with pytest.raises(FileStoreUnavailable, match="access was refused"):
        put(store)

    assert len(relay.heard) == 1
    store.close()


def test_a_missing_bucket_is_told_by_the_put_itself(s3: S3, relay: S3Relay) -> None:
    store = through(S3(s3.endpoint, s3.key, s3.secret, "not-there"), relay)

    with pytest.raises(FileStoreUnavailable, match="there is no such bucket"):
        put(store)
    with pytest.raises(FileStoreUnavailable, match="there is no such bucket"):
        put(store, LARGE)
    store.close()


def test_a_server_that_is_away_is_told(s3: S3) -> None:
    with S3Relay(s3.endpoint) as relay:
        store = through(s3, relay)
        put(store)
        store.close()

    with pytest.raises(FileStoreUnavailable, match="check THREADMILL_S3_ENDPOINT_URL, and that the server runs"):
        store.get("acme", HASH)
    store.close()
