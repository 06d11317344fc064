"""What every store of blobs promises: one suite for the local folder and for a real S3 server."""

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from urllib.request import urlopen

import pytest

from conversation.errors import FileNotStored, FileRefused, InvalidInput
from store.files import BlobStore, open_file_store
from store.settings import load

PICTURE = b"\x89PNG and so on \x00\xff" * 100
DAY = timedelta(days=1)


def sha256_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


HASH = sha256_of(PICTURE)


class Place:
    """A store, and a way behind its back."""

    def __init__(self, store: BlobStore, overwrite: Callable[[str, bytes], None]) -> None:
        self.store = store
        #: Replace or create what is kept under `tenant/ab/cdef…`.
        self.overwrite = overwrite


@pytest.fixture(params=["local", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    if request.param == "local":
        store: BlobStore = open_file_store(load(file_store=str(tmp_path / "files")))

        def overwrite(key: str, content: bytes) -> None:
            path = tmp_path / "files" / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    else:
        s3 = request.getfixturevalue("s3")
        store = open_file_store(
            load(
                file_store=f"s3://{s3.bucket}/kept/here",
                s3_endpoint_url=s3.endpoint,
                s3_access_key_id=s3.key,
                s3_secret_access_key=s3.secret,
            )
        )

        def overwrite(key: str, content: bytes) -> None:
            client = s3.client()
            client.put_object(Bucket=s3.bucket, Key=f"kept/here/{key}", Body=content)
            client.close()

    yield Place(store, overwrite)
    store.close()


@pytest.fixture
def store(place: Place) -> BlobStore:
    return place.store


def test_what_was_put_is_read_back_to_the_byte(store: BlobStore) -> None:
    assert not store.exists("acme", HASH)

    store.put("acme", HASH, PICTURE, "image/png")

    assert store.exists("acme", HASH)
    assert store.get("acme", HASH) == PICTURE


@pytest.mark.parametrize("content", [b"", b"\x00", b"x" * 5_000_001], ids=["nothing", "one byte", "5 MB"])
def test_blobs_of_any_size_are_kept(store: BlobStore, content: bytes) -> None:
    store.put("acme", sha256_of(content), content, "application/octet-stream")

    assert store.get("acme", sha256_of(content)) == content


def test_putting_a_blob_again_changes_nothing(store: BlobStore) -> None:
    store.put("acme", HASH, PICTURE, "image/png")
    store.put("acme", HASH, PICTURE, "image/png")

    assert list(store.list("acme")) == [HASH]
    assert store.get("acme", HASH) == PICTURE


def test_bytes_of_another_hash_are_refused_and_nothing_is_kept(store: BlobStore) -> None:
    with pytest.raises(FileRefused, match=HASH):
        store.put("acme", HASH, PICTURE + b"!", "image/png")

    assert not store.exists("acme", HASH)


def test_a_blob_that_is_not_there_is_named(store: BlobStore) -> None:
    with pytest.raises(FileNotStored, match=rf"{HASH} of tenant acme is not stored"):
        store.get("acme", HASH)


def test_a_damaged_blob_is_an_error_and_no_bytes(place: Place) -> None:
    place.store.put("acme", HASH, PICTURE, "image/png")
    place.overwrite(f"acme/{HASH[:2]}/{HASH[2:]}", b"!" + PICTURE[1:])

    with pytest.raises(FileNotStored, match=f"{HASH} of tenant acme is damaged"):
        place.store.get("acme", HASH)


def test_a_blob_cut_short_is_healed_by_putting_it_again(place: Place) -> None:
    place.overwrite(f"acme/{HASH[:2]}/{HASH[2:]}", PICTURE[:-1])

    place.store.put("acme", HASH, PICTURE, "image/png")

    assert place.store.get("acme", HASH) == PICTURE


def test_deleting_removes_a_blob_and_may_be_repeated(store: BlobStore) -> None:
    store.put("acme", HASH, PICTURE, "image/png")

    store.delete("acme", HASH)
    store.delete("acme", HASH)

    assert not store.exists("acme", HASH)
    assert list(store.list("acme")) == []


def test_a_deleted_blob_can_be_put_again(store: BlobStore) -> None:
    store.put("acme", HASH, PICTURE, "image/png")
    store.delete("acme", HASH)

    store.put("acme", HASH, PICTURE, "image/png")

    assert store.get("acme", HASH) == PICTURE


def test_a_list_holds_every_hash_in_order_and_nothing_else(place: Place) -> None:
    contents = [f"file {number}".encode() for number in range(20)]
    for content in contents:
        place.store.put("acme", sha256_of(content), content, "text/plain")
    for stray in (f"acme/ab/.partial-{HASH[:32]}", "acme/ab/readme", "acme/readme", f"acme/{HASH}", "readme"):
        place.overwrite(stray, b"no blob")

    assert list(place.store.list("acme")) == sorted(map(sha256_of, contents))


def test_a_tenant_sees_only_its_own_blobs(store: BlobStore) -> None:
    store.put("acme", HASH, PICTURE, "image/png")
    store.put("acme2", HASH, PICTURE, "image/png")

    store.delete("acme2", HASH)

    assert list(store.list("acme")) == [HASH]
    assert list(store.list("acme2")) == list(store.list("nobody")) == []
    assert store.exists("acme", HASH)
    assert not store.exists("acm", HASH)


@pytest.mark.parametrize(
    "tenant", ["", "..", ".", "../up", "a/b", "a\\b", "a..b", "/etc", "a\x00", ".hidden", "ä", None]
)
def test_a_tenant_that_could_leave_its_place_is_refused_by_every_verb(store: BlobStore, tenant: str) -> None:
    for verb in verbs(store, tenant, HASH):
        with pytest.raises(InvalidInput, match="tenant"):
            verb()
    with pytest.raises(InvalidInput, match="tenant"):
        list(store.list(tenant))


@pytest.mark.parametrize(
    "sha256",
    ["", "..", HASH[:-1], HASH + "0", HASH.upper(), "../" + HASH[3:], HASH[:-1] + "\n", "g" * 64, None],
)
def test_a_hash_that_is_none_is_refused_by_every_verb(store: BlobStore, sha256: str) -> None:
    for verb in verbs(store, "acme", sha256)[1:]:
        with pytest.raises(InvalidInput, match="sha256"):
            verb()
    with pytest.raises((InvalidInput, FileRefused)):
        store.put("acme", sha256, PICTURE, "image/png")


def verbs(store: BlobStore, tenant: str, sha256: str) -> list[Callable[[], object]]:
    return [
        lambda: store.put(tenant, sha256, PICTURE, "image/png"),
        lambda: store.get(tenant, sha256),
        lambda: store.exists(tenant, sha256),
        lambda: store.delete(tenant, sha256),
        lambda: store.url(tenant, sha256, expires=DAY, filename="a.png", media_type="image/png"),
    ]


def test_a_url_leads_to_the_bytes(store: BlobStore) -> None:
    store.put("acme", HASH, PICTURE, "image/png")

    address = store.url("acme", HASH, expires=DAY, filename="a.png", media_type="image/png")

    with urlopen(address) as answer:
        assert answer.read() == PICTURE


@pytest.mark.parametrize("expires", [timedelta(0), -DAY, 8 * DAY])
def test_a_url_lives_from_a_second_to_a_week(store: BlobStore, expires: timedelta) -> None:
    with pytest.raises(InvalidInput, match="expires"):
        store.url("acme", HASH, expires=expires, filename="a.png", media_type="image/png")


def test_many_threads_share_a_store(store: BlobStore) -> None:
    contents = [f"file {number % 10}".encode() * 1000 for number in range(40)]

    def keep(content: bytes) -> bytes:
        store.put("acme", sha256_of(content), content, "text/plain")
        return store.get("acme", sha256_of(content))

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(keep, contents)) == contents

    assert len(list(store.list("acme"))) == 10


def test_a_closed_store_opens_again(store: BlobStore) -> None:
    store.put("acme", HASH, PICTURE, "image/png")
    store.close()
    store.close()

    assert store.get("acme", HASH) == PICTURE
