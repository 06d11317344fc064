"""What our S3 store asks of a server beyond what every store promises: parts, versions, uploads, copies."""

import base64
import hashlib
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from conversation.errors import FileNotStored, FileRejected, InvalidInput
from store.blobs import PresignedUpload, S3Blobs
from store.blobs.s3 import multipart
from tests.conformance.conftest import Bucket
from tests.uploads import uploaded_size

pytestmark = pytest.mark.soak

MIB = 1024 * 1024
HOUR = timedelta(hours=1)
CONTENT = b"\x89PNG and so on" * 1000
HASH = hashlib.sha256(CONTENT).hexdigest()
KEY = f"acme/sha256/{HASH[:2]}/{HASH[2:]}"
#: Two parts of the least size that S3 allows, and a third.
LARGE = b"0123456789abcdef" * (11 * MIB // 16)
LARGE_HASH = hashlib.sha256(LARGE).hexdigest()


@pytest.fixture
def store(bucket: Bucket) -> Iterator[S3Blobs]:
    opened = bucket.store(multipart_bytes=6 * MIB, part_bytes=5 * MIB)
    yield opened
    opened.close()


# Parts


def test_a_large_blob_travels_in_parts_and_comes_back(store: S3Blobs, bucket: Bucket) -> None:
    store.put("acme", LARGE_HASH, LARGE, "text/plain")

    assert store.get("acme", LARGE_HASH) == LARGE
    assert [blob.size for blob in store.list("acme")] == [len(LARGE)]
    kept = bucket.client.head_object(Bucket=bucket.s3.bucket, Key=f"{bucket.prefix}/{bucket.keys()[0]}")
    assert kept["ETag"].endswith('-3"')
    assert (kept["ContentType"], kept["Metadata"]) == ("text/plain", {"sha256": LARGE_HASH})


def test_a_large_file_that_changes_between_its_parts_is_dropped(
    store: S3Blobs, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if somebody wrote to it after it was hashed: the look before the upload sees the right bytes."""
    monkeypatch.setattr("store.blobs.s3.store.check_content", lambda sha256, content: len(content))

    with pytest.raises(FileRejected, match=LARGE_HASH):
        store.put("acme", LARGE_HASH, LARGE[:-1] + b"!", "text/plain")

    assert bucket.keys() == []
    assert bucket.unfinished() == []


def test_a_tenant_goes_with_its_uploads_in_parts_and_otherwise(store: S3Blobs, bucket: Bucket) -> None:
    store.put("acme", HASH, CONTENT, "image/png")
    bucket.write("acme/staging/one", b"uploaded")
    bucket.write("acme2/staging/one", b"uploaded")
    bucket.client.create_multipart_upload(Bucket=bucket.s3.bucket, Key=f"{bucket.prefix}/{KEY}")

    assert store.delete_tenant("acme") == 2

    assert bucket.keys() == ["acme2/staging/one"]
    assert bucket.unfinished() == []


def made(store: S3Blobs) -> list[str]:
    """Names of the requests that make an object, from now on."""
    found: list[str] = []
    for verb in ("PutObject", "CreateMultipartUpload", "CopyObject"):
        store._bucket.get_client().meta.events.register(
            f"before-call.s3.{verb}", lambda model, **_: found.append(model.name)
        )
    return found


def test_a_whole_blob_is_not_sent_again_in_parts_or_otherwise(store: S3Blobs) -> None:
    store.put("acme", HASH, CONTENT, "image/png")
    store.put("acme", LARGE_HASH, LARGE, "text/plain")
    requests = made(store)

    store.put("acme", HASH, CONTENT, "image/png")
    store.put("acme", LARGE_HASH, LARGE, "text/plain")

    assert requests == []


def test_a_large_blob_that_was_damaged_is_healed_by_putting_it_again(store: S3Blobs, bucket: Bucket) -> None:
    store.put("acme", LARGE_HASH, LARGE, "text/plain")
    bucket.write(bucket.keys()[0], b"!" + LARGE[1:])

    store.put("acme", LARGE_HASH, LARGE, "text/plain")

    assert store.get("acme", LARGE_HASH) == LARGE


def test_damage_in_parts_is_healed_by_putting_it_again(store: S3Blobs, bucket: Bucket) -> None:
    """Sent as we send, by somebody who wrote our own description beside other bytes."""
    key = f"{bucket.prefix}/acme/sha256/{LARGE_HASH[:2]}/{LARGE_HASH[2:]}"
    other = b"!" + LARGE[1:]
    described = store._bucket.object_options(LARGE_HASH, "text/plain")
    other_hash = hashlib.sha256(other).hexdigest()
    multipart.send_in_parts(store._bucket, key, other_hash, other, size=len(other), **described)

    store.put("acme", LARGE_HASH, LARGE, "text/plain")

    assert store.get("acme", LARGE_HASH) == LARGE


# Uploads


def announced(store: S3Blobs, content: bytes = CONTENT, *, expires: timedelta = HOUR) -> PresignedUpload:
    sha256 = hashlib.sha256(content).hexdigest()
    return store.upload_url("acme", "one", sha256=sha256, size=len(content), media_type="image/png", expires=expires)


def send(upload: PresignedUpload, content: bytes = CONTENT, url: str = "", **headers: str) -> int:
    """The server's answer to a browser."""
    sent = {**upload.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
    request = Request(url or upload.url, data=content, method=upload.method, headers=sent)
    try:
        with urlopen(request) as answer:
            return int(answer.status)
    except HTTPError as refused:
        with refused:
            return refused.code


def test_an_upload_becomes_a_blob(store: S3Blobs, bucket: Bucket) -> None:
    assert uploaded_size(store, "acme", "one") is None
    upload = announced(store)

    assert send(upload) == 200

    assert HOUR - timedelta(minutes=1) < upload.expires_at - datetime.now(UTC) <= HOUR
    assert uploaded_size(store, "acme", "one") == len(CONTENT)
    with store.read_upload("acme", "one") as pieces:
        assert b"".join(pieces) == CONTENT
    assert list(store.list("acme")) == []

    store.adopt_upload("acme", "one", HASH, "image/png")
    store.adopt_upload("acme", "one", HASH, "image/png")
    store.discard_upload("acme", "one")
    store.discard_upload("acme", "one")

    assert store.get("acme", HASH) == CONTENT
    assert bucket.keys() == [KEY]
    kept = bucket.client.head_object(Bucket=bucket.s3.bucket, Key=f"{bucket.prefix}/{KEY}")
    assert (kept["ContentType"], kept["Metadata"]) == ("image/png", {"sha256": HASH})
    assert uploaded_size(store, "acme", "one") is None


def test_a_damaged_blob_is_healed_by_uploading_it_again(store: S3Blobs, bucket: Bucket) -> None:
    store.put("acme", HASH, CONTENT, "image/png")
    bucket.write(KEY, b"!" + CONTENT[1:])
    bucket.write("acme/staging/one", CONTENT)
    requests = made(store)

    store.adopt_upload("acme", "one", HASH, "image/png")
    store.adopt_upload("acme", "one", HASH, "image/png")

    assert store.get("acme", HASH) == CONTENT
    assert requests == ["CopyObject"]


def test_a_large_upload_is_copied_in_parts(store: S3Blobs, bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multipart, "COPY_BYTES", 5 * MIB)
    bucket.write("acme/staging/one", LARGE)

    store.adopt_upload("acme", "one", LARGE_HASH, "text/plain")

    assert store.get("acme", LARGE_HASH) == LARGE
    kept = bucket.client.head_object(Bucket=bucket.s3.bucket, Key=f"{bucket.prefix}/{bucket.keys()[0]}")
    assert (kept["ContentType"], kept["ETag"][-3:]) == ("text/plain", '-3"')


@pytest.mark.parametrize("content", [CONTENT + b"!", CONTENT[:-1], b""], ids=["longer", "shorter", "nothing"])
def test_an_upload_of_another_length_is_refused(store: S3Blobs, content: bytes) -> None:
    assert send(announced(store), content) == 403
    assert uploaded_size(store, "acme", "one") is None


def test_an_upload_of_another_type_is_refused(store: S3Blobs) -> None:
    assert send(announced(store), Content_Type="text/html") == 403
    assert uploaded_size(store, "acme", "one") is None


def test_an_upload_with_another_checksum_is_refused(store: S3Blobs) -> None:
    other = base64.b64encode(hashlib.sha256(b"other").digest()).decode()

    assert send(announced(store), x_amz_checksum_sha256=other) == 403
    assert uploaded_size(store, "acme", "one") is None


def test_an_upload_without_its_checksum_is_refused(store: S3Blobs) -> None:
    upload = announced(store)
    bare = PresignedUpload(upload.url, "PUT", {"Content-Type": "image/png"}, upload.expires_at)

    assert send(bare) in (400, 403)
    assert uploaded_size(store, "acme", "one") is None


def test_an_upload_of_other_bytes_never_becomes_a_blob(store: S3Blobs, bucket: Bucket) -> None:
    """The one check that not every server makes: where it took them, taking them over finds them out."""
    answered = send(announced(store), b"!" + CONTENT[1:])

    with pytest.raises(FileNotStored if answered == 400 else FileRejected, match="upload one"):
        store.adopt_upload("acme", "one", HASH, "image/png")

    assert answered in (200, 400)
    assert not store.exists("acme", HASH)


def test_an_upload_to_another_key_is_refused(store: S3Blobs, bucket: Bucket) -> None:
    upload = announced(store)

    assert send(upload, url=upload.url.replace("/staging/one", "/staging/two")) == 403
    assert send(upload, url=upload.url.replace("/acme/staging/one", f"/{KEY}")) == 403
    assert send(upload, url=upload.url.replace("/acme/", "/acme2/")) == 403
    assert bucket.keys() == []


def test_an_upload_that_comes_too_late_is_refused(store: S3Blobs) -> None:
    upload = announced(store, expires=timedelta(seconds=1))
    time.sleep(2.5)

    assert send(upload) == 403
    assert send(upload, url=upload.url.replace("Expires=1&", "Expires=900&")) == 403
    assert uploaded_size(store, "acme", "one") is None


def test_an_upload_with_a_tampered_signature_is_refused(store: S3Blobs) -> None:
    upload = announced(store)
    last = "0" if upload.url[-1] != "0" else "1"

    assert send(upload, url=upload.url[:-1] + last) == 403
    assert uploaded_size(store, "acme", "one") is None


def test_bytes_of_another_hash_are_not_adopted_even_where_the_blob_is_there(store: S3Blobs, bucket: Bucket) -> None:
    """Who knows a hash must not get the file of somebody else by it."""
    store.put("acme", HASH, CONTENT, "image/png")
    bucket.write("acme/staging/one", b"anything")

    with pytest.raises(FileRejected, match=f"not {HASH}"):
        store.adopt_upload("acme", "one", HASH, "image/png")


def test_an_upload_that_changes_after_it_was_read_is_not_adopted(store: S3Blobs, bucket: Bucket) -> None:
    bucket.write("acme/staging/one", CONTENT)

    def swap(**_: object) -> None:
        bucket.write("acme/staging/one", b"!" + CONTENT[1:])

    store._bucket.get_client().meta.events.register("before-call.s3.CopyObject", swap)

    with pytest.raises(FileRejected, match="changed while it was being taken"):
        store.adopt_upload("acme", "one", HASH, "image/png")

    assert not store.exists("acme", HASH)


def test_an_upload_that_is_discarded_after_it_was_read_is_not_adopted(store: S3Blobs, bucket: Bucket) -> None:
    bucket.write("acme/staging/one", CONTENT)
    store._bucket.get_client().meta.events.register(
        "before-call.s3.CopyObject", lambda **_: bucket.store().discard_upload("acme", "one")
    )

    with pytest.raises(FileRejected, match="upload it again"):
        store.adopt_upload("acme", "one", HASH, "image/png")

    assert not store.exists("acme", HASH)


def test_what_was_not_uploaded_is_neither_read_nor_adopted(store: S3Blobs) -> None:
    with pytest.raises(FileNotStored, match="upload one of tenant acme is not there"):
        store.adopt_upload("acme", "one", HASH, "image/png")
    with pytest.raises(FileNotStored, match="upload one"), store.read_upload("acme", "one"):
        pytest.fail("there is nothing to read")


@pytest.mark.parametrize("upload_id", ["", "..", "a/b", "../sha256/ab", "a b", "x" * 65, "a\n", None])
def test_an_upload_id_that_could_leave_its_folder_is_refused(store: S3Blobs, upload_id: str) -> None:
    options = {"sha256": HASH, "size": 1, "media_type": "image/png", "expires": HOUR}
    for verb in (
        lambda: store.upload_url("acme", upload_id, **options),
        lambda: uploaded_size(store, "acme", upload_id),
        lambda: store.adopt_upload("acme", upload_id, HASH, "image/png"),
        lambda: store.discard_upload("acme", upload_id),
    ):
        with pytest.raises(InvalidInput, match="upload_id"):
            verb()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("sha256", "no hash"), ("size", -1), ("size", 5 * 1024**3 + 1), ("media_type", "image/png\r\nX: y"),
        ("media_type", ""), ("expires", timedelta(days=8)), ("expires", timedelta(0)),
    ],
)  # fmt: skip
def test_an_upload_that_cannot_be_is_not_signed(store: S3Blobs, field: str, value: object) -> None:
    options = {"sha256": HASH, "size": 1, "media_type": "image/png", "expires": HOUR, field: value}

    with pytest.raises(InvalidInput, match=field):
        store.upload_url("acme", "one", **options)


# Listings


def test_uploads_that_nobody_discarded_are_listed(store: S3Blobs, bucket: Bucket) -> None:
    started = datetime.now(UTC)
    assert send(announced(store)) == 200
    bucket.write("acme/staging/two", b"uploaded")
    for other in ("acme/staging/a/b", "acme/staging/.hidden", "acme2/staging/one", KEY):
        bucket.write(other, b"no upload of this tenant")

    first, second = store.list_uploads("acme")

    assert (first.upload_id, first.size) == ("one", len(CONTENT))
    assert (second.upload_id, second.size) == ("two", len(b"uploaded"))
    # A server's clock may be another, and some keep whole seconds.
    assert abs(first.modified_at - started) < timedelta(minutes=15)
    store.discard_upload("acme", "one")
    assert list(store.list_uploads("acme")) == [second]


def test_uploads_are_listed_past_the_first_page(store: S3Blobs, bucket: Bucket) -> None:
    for number in range(7):
        bucket.write(f"acme/staging/{number}", b"uploaded")
    store._bucket.get_client().meta.events.register(
        "provide-client-params.s3.ListObjectsV2", lambda params, **_: {**params, "MaxKeys": 3}
    )

    assert [upload.upload_id for upload in store.list_uploads("acme")] == list("0123456")


def test_listings_go_on_past_the_first_page(store: S3Blobs) -> None:
    contents = [f"file {number}".encode() for number in range(7)]
    for index, content in enumerate(contents):
        store.put("acme", hashlib.sha256(content).hexdigest(), content, "text/plain")
        store.put(f"tenant{index}", HASH, CONTENT, "image/png")
    known = sorted(hashlib.sha256(content).hexdigest() for content in contents)

    # The server's page is a thousand long; this one asks for three.
    store._bucket.get_client().meta.events.register(
        "provide-client-params.s3.ListObjectsV2", lambda params, **_: {**params, "MaxKeys": 3}
    )

    assert [blob.sha256 for blob in store.list("acme")] == known
    assert [blob.sha256 for blob in store.list("acme", after=known[1])] == known[2:]
    assert list(store.list_tenants()) == ["acme", *(f"tenant{index}" for index in range(7))]


def test_a_tenant_goes_past_the_first_page(store: S3Blobs, bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("store.blobs.s3.deletion.BATCH", 3)
    for number in range(8):
        content = f"file {number}".encode()
        store.put("acme", hashlib.sha256(content).hexdigest(), content, "text/plain")

    assert store.delete_tenant("acme") == 8
    assert bucket.keys() == []
