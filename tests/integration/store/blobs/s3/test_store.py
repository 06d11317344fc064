"""What the S3 store promises beyond the others, on a real server: signatures, metadata, clear trouble."""

import hashlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.error import HTTPError
from urllib.parse import parse_qs, urlsplit
from urllib.request import Request, urlopen

import pytest

from conversation.errors import FileStoreUnavailable
from store.blobs import S3Blobs, S3Options

pytestmark = pytest.mark.soak

CONTENT = b"a file"
HASH = hashlib.sha256(CONTENT).hexdigest()
KEY = f"kept/acme/sha256/{HASH[:2]}/{HASH[2:]}"
HOUR = timedelta(hours=1)


@pytest.fixture
def store(s3: Any) -> Iterator[S3Blobs]:
    with_store = opened(s3)
    yield with_store
    with_store.close()


def opened(s3: Any, bucket: str = "", **replaced: Any) -> S3Blobs:
    settings = {"endpoint_url": s3.endpoint, "access_key_id": s3.key, "secret_access_key": s3.secret}
    return S3Blobs(bucket or s3.bucket, "/kept/", S3Options(**{**settings, **replaced}))


def put(store: S3Blobs) -> None:
    store.put("acme", HASH, CONTENT, "text/plain")


def test_an_object_says_its_type_and_hash(store: S3Blobs, s3: Any) -> None:
    put(store)

    kept = s3.client().head_object(Bucket=s3.bucket, Key=KEY)
    assert kept["ContentType"] == "text/plain"
    assert kept["Metadata"] == {"sha256": HASH}


def test_a_blob_that_is_there_is_not_sent_again(store: S3Blobs, s3: Any) -> None:
    client = s3.client()
    put(store)
    first = client.head_object(Bucket=s3.bucket, Key=KEY)["LastModified"]
    time.sleep(1.1)

    put(store)

    assert client.head_object(Bucket=s3.bucket, Key=KEY)["LastModified"] == first


def test_a_list_goes_on_past_the_first_page(s3: Any, store: S3Blobs) -> None:
    contents = [f"file {number}".encode() for number in range(7)]
    for content in contents:
        store.put("acme", hashlib.sha256(content).hexdigest(), content, "text/plain")

    # The server's page is a thousand long; this one asks for three.
    client = store._bucket.get_client()
    client.meta.events.register("provide-client-params.s3.ListObjectsV2", lambda params, **_: {**params, "MaxKeys": 3})

    assert [blob.sha256 for blob in store.list("acme")] == sorted(
        hashlib.sha256(content).hexdigest() for content in contents
    )


def test_a_url_is_signed_with_version_4_and_saves_under_the_given_name(store: S3Blobs) -> None:
    put(store)

    address = store.url("acme", HASH, expires=HOUR, filename='grüße "1"\r\nX: y.txt', media_type="text/csv")

    query = parse_qs(urlsplit(address).query)
    assert query["X-Amz-Algorithm"] == ["AWS4-HMAC-SHA256"]
    assert query["X-Amz-Expires"] == ["3600"]
    with urlopen(address) as answer:
        assert answer.headers["Content-Type"].startswith("text/csv")
        assert answer.headers["X"] is None
        assert answer.headers["Content-Disposition"] == (
            "attachment; filename=\"gr__e _1___X_ y.txt\"; filename*=UTF-8''gr%C3%BC%C3%9Fe%20_1___X_%20y.txt"
        )


@pytest.mark.parametrize(
    ("media_type", "disposition", "served", "name"),
    [
        ("image/png", "inline", "image/png", "__a.html.png"),
        ("image/svg+xml", "attachment", "application/octet-stream", "__a.html.svg"),
        ("text/html; charset=utf-8", "attachment", "application/octet-stream", "__a.html"),
        ("application/pdf", "attachment", "application/pdf", "__a.html.pdf"),
    ],
)
def test_a_browser_is_shown_pictures_and_never_a_program(
    store: S3Blobs, media_type: str, disposition: str, served: str, name: str
) -> None:
    store.put("acme", HASH, CONTENT, media_type)

    address = store.url("acme", HASH, expires=HOUR, filename="../\u202ea.html", media_type=media_type, inline=True)

    with urlopen(address) as answer:
        assert answer.headers["Content-Type"].partition(";")[0] == served
        assert answer.headers["Content-Disposition"] == f"{disposition}; filename=\"{name}\"; filename*=UTF-8''{name}"
    with urlopen(store.url("acme", HASH, expires=HOUR, filename="a", media_type=media_type)) as answer:
        assert answer.headers["Content-Disposition"].startswith("attachment;")


def test_a_url_that_was_changed_or_is_too_old_opens_nothing(store: S3Blobs) -> None:
    put(store)
    other = hashlib.sha256(b"another").hexdigest()
    store.put("acme", other, b"another", "text/plain")
    address = store.url("acme", HASH, expires=timedelta(seconds=1), filename="a", media_type="text/plain")

    changed = address.replace(HASH[2:], other[2:]).replace(f"/{HASH[:2]}/", f"/{other[:2]}/")
    assert forbidden(changed)
    assert forbidden(address, method="DELETE")
    time.sleep(2.1)
    assert forbidden(address)


def forbidden(address: str, method: str = "GET") -> bool:
    try:
        with urlopen(Request(address, method=method)):
            return False
    except HTTPError as refused:
        with refused:
            return refused.code == 403


def test_a_missing_bucket_is_told_by_every_verb(s3: Any) -> None:
    store = opened(s3, bucket="not-there")

    for verb in every_verb(store):
        with pytest.raises(FileStoreUnavailable, match=r"bucket 'not-there' at .*: there is no such bucket; create it"):
            verb()
    store.close()


def test_a_wrong_secret_is_told_without_telling_it(s3: Any) -> None:
    store = opened(s3, secret_access_key="wr0ng-s3cret")

    for verb in every_verb(store):
        with pytest.raises(FileStoreUnavailable, match="access was refused") as told:
            verb()
        assert "THREADMILL_S3_SECRET_ACCESS_KEY" in str(told.value)
        assert "wr0ng-s3cret" not in str(told.value)
    store.close()


def every_verb(store: S3Blobs) -> list[Any]:
    return [
        lambda: put(store),
        lambda: store.get("acme", HASH),
        lambda: store.exists("acme", HASH),
        lambda: store.delete("acme", HASH),
        lambda: list(store.list("acme")),
    ]


@pytest.fixture
def silent_port() -> Iterator[int]:
    """Takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_server_that_is_away_is_told_soon_and_without_its_password() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    endpoint = f"http://user:pass@127.0.0.1:{port}"
    store = S3Blobs("files", options=S3Options(endpoint, "k", "s3cret", max_attempts=2))

    started = time.monotonic()
    with pytest.raises(FileStoreUnavailable, match=f"bucket 'files' at 127.0.0.1:{port}: .*ENDPOINT_URL") as told:
        put(store)

    assert time.monotonic() - started < 20
    assert "pass" not in str(told.value)
    assert "s3cret" not in str(told.value)
    store.close()


def test_a_server_that_never_answers_is_given_up_after_the_stated_time(silent_port: int) -> None:
    endpoint = f"http://127.0.0.1:{silent_port}"
    options = S3Options(endpoint, "k", "s", read_timeout_seconds=0.3, max_attempts=2)
    store = S3Blobs("files", options=options)

    started = time.monotonic()
    with pytest.raises(FileStoreUnavailable, match="timeout"):
        store.get("acme", HASH)

    assert 0.5 < time.monotonic() - started < 20
    store.close()


def test_an_endpoint_that_is_no_url_is_told() -> None:
    store = S3Blobs("files", options=S3Options("nowhere", "k", "s"))

    with pytest.raises(FileStoreUnavailable, match="Invalid endpoint"):
        put(store)


def test_missing_keys_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    store = S3Blobs("files", options=S3Options("http://127.0.0.1:1"))

    with pytest.raises(FileStoreUnavailable, match="Unable to locate credentials"):
        put(store)
    store.close()


FORKS = """
import hashlib, os, sys
from store.blobs import S3Blobs, S3Options

address = hashlib.sha256(b"a file").hexdigest()
endpoint_url, key, secret, bucket = sys.argv[1:]
store = S3Blobs(bucket, options=S3Options(endpoint_url, key, secret))
store.put("acme", address, b"a file", "text/plain")
inherited = store._bucket._client
child = os.fork()
assert store.get("acme", address) == b"a file"
assert (store._bucket._client is inherited) == bool(child)
if child:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_forked_child_makes_a_client_of_its_own(s3: Any) -> None:
    arguments = [s3.endpoint, s3.key, s3.secret, s3.bucket]

    done = subprocess.run([sys.executable, "-c", FORKS, *arguments], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")


def test_the_driver_is_not_imported_before_it_is_needed() -> None:
    program = "import sys, store.blobs; store.blobs.S3Blobs('b'); print([m for m in sys.modules if 'boto' in m])"

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
