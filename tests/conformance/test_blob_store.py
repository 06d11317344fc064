"""What every store of blobs promises: one suite for memory, the local folder, and real S3 servers."""

import hashlib
import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from urllib.request import urlopen

import pytest

from conversation.errors import FileNotStored, FileRejected, InvalidInput
from store.blobs import BlobStore
from tests.conformance.conftest import Place

PICTURE = b"\x89PNG and so on \x00\xff" * 100
DAY = timedelta(days=1)


def sha256_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


HASH = sha256_of(PICTURE)
KEY = f"acme/sha256/{HASH[:2]}/{HASH[2:]}"


def hashes(store: BlobStore, tenant: str = "acme", *, after: str = "") -> list[str]:
    return [blob.sha256 for blob in store.list(tenant, after=after)]


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

    assert hashes(store) == [HASH]
    assert store.get("acme", HASH) == PICTURE


def test_bytes_of_another_hash_are_refused_and_nothing_is_kept(store: BlobStore) -> None:
    with pytest.raises(FileRejected, match=HASH):
        store.put("acme", HASH, PICTURE + b"!", "image/png")

    assert not store.exists("acme", HASH)


def test_a_blob_that_is_not_there_is_named(store: BlobStore) -> None:
    with pytest.raises(FileNotStored, match=rf"{HASH} of tenant acme is not stored"):
        store.get("acme", HASH)


def test_a_damaged_blob_is_an_error_and_no_bytes(place: Place) -> None:
    place.store.put("acme", HASH, PICTURE, "image/png")
    place.overwrite(KEY, b"!" + PICTURE[1:])

    with pytest.raises(FileNotStored, match=f"{HASH} of tenant acme is damaged"):
        place.store.get("acme", HASH)


def test_a_blob_cut_short_is_healed_by_putting_it_again(place: Place) -> None:
    place.overwrite(KEY, PICTURE[:-1])

    place.store.put("acme", HASH, PICTURE, "image/png")

    assert place.store.get("acme", HASH) == PICTURE


@pytest.mark.parametrize("content", [PICTURE, b"\x00"], ids=["picture", "one byte"])
def test_damage_of_the_same_length_is_healed_by_putting_it_again(place: Place, content: bytes) -> None:
    sha256 = sha256_of(content)
    place.store.put("acme", sha256, content, "image/png")
    place.overwrite(f"acme/sha256/{sha256[:2]}/{sha256[2:]}", b"!" + content[1:])

    place.store.put("acme", sha256, io.BytesIO(content), "image/png")

    assert place.store.get("acme", sha256) == content


def test_deleting_removes_a_blob_and_may_be_repeated(store: BlobStore) -> None:
    store.put("acme", HASH, PICTURE, "image/png")

    store.delete("acme", HASH)
    store.delete("acme", HASH)

    assert not store.exists("acme", HASH)
    assert hashes(store) == []


def test_a_deleted_blob_can_be_put_again(store: BlobStore) -> None:
    store.put("acme", HASH, PICTURE, "image/png")
    store.delete("acme", HASH)

    store.put("acme", HASH, PICTURE, "image/png")

    assert store.get("acme", HASH) == PICTURE


def test_a_list_holds_every_hash_in_order_and_nothing_else(place: Place) -> None:
    contents = [f"file {number}".encode() for number in range(20)]
    for content in contents:
        place.store.put("acme", sha256_of(content), content, "text/plain")
    for stray in (
        *(f"acme/sha256/ab/.partial-{HASH[:32]}", "acme/sha256/ab/readme", "acme/sha256/readme"),
        *(f"acme/sha256/{HASH}", f"acme/{HASH[:2]}/{HASH[2:]}", "acme/staging/one", "readme"),
    ):
        place.overwrite(stray, b"no blob")

    assert hashes(place.store) == sorted(map(sha256_of, contents))


def test_a_tenant_sees_only_its_own_blobs(store: BlobStore) -> None:
    store.put("acme", HASH, PICTURE, "image/png")
    store.put("acme2", HASH, PICTURE, "image/png")

    store.delete("acme2", HASH)

    assert hashes(store) == [HASH]
    assert hashes(store, "acme2") == hashes(store, "nobody") == []
    assert store.exists("acme", HASH)
    assert not store.exists("acm", HASH)


@pytest.mark.parametrize(
    "tenant", ["", "..", ".", "../up", "a/b", "a\\b", "a..b", "/etc", "a\x00", ".hidden", "ä", None]
)
def test_a_tenant_that_could_leave_its_place_is_refused_by_every_verb(store: BlobStore, tenant: str) -> None:
    for verb in verbs(store, tenant, HASH):
        with pytest.raises(InvalidInput, match="tenant"):
            verb()
    for of_tenant in (
        lambda: list(store.list(tenant)),
        lambda: list(store.list_uploads(tenant)),
        lambda: store.delete_tenant(tenant),
    ):
        with pytest.raises(InvalidInput, match="tenant"):
            of_tenant()


@pytest.mark.parametrize(
    "sha256", ["", "..", HASH[:-1], HASH + "0", HASH.upper(), "../" + HASH[3:], HASH[:-1] + "\n", "g" * 64, None]
)
def test_a_hash_that_is_none_is_refused_by_every_verb(store: BlobStore, sha256: str) -> None:
    for verb in verbs(store, "acme", sha256)[1:]:
        with pytest.raises(InvalidInput, match="sha256"):
            verb()
    with pytest.raises((InvalidInput, FileRejected)):
        store.put("acme", sha256, PICTURE, "image/png")


def verbs(store: BlobStore, tenant: str, sha256: str) -> list[Callable[[], object]]:
    return [
        lambda: store.put(tenant, sha256, PICTURE, "image/png"),
        lambda: store.get(tenant, sha256),
        lambda: opened(store, tenant, sha256),
        lambda: store.exists(tenant, sha256),
        lambda: store.delete(tenant, sha256),
        lambda: store.url(tenant, sha256, expires=DAY, filename="a.png", media_type="image/png"),
    ]


def opened(store: BlobStore, tenant: str = "acme", sha256: str = HASH) -> list[bytes]:
    with store.open(tenant, sha256) as pieces:
        return list(pieces)


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

    assert len(hashes(store)) == 10


def test_a_closed_store_opens_again(store: BlobStore) -> None:
    store.put("acme", HASH, PICTURE, "image/png")
    store.close()
    store.close()

    assert store.get("acme", HASH) == PICTURE


# In pieces

LARGE = b"0123456789abcdef" * 200_000


class Changing(io.BytesIO):
    """A file whose end somebody writes to when its beginning is read for the last time."""

    def __init__(self, content: bytes, looks: int) -> None:
        super().__init__(content)
        self.looks = looks

    def read(self, size: int | None = -1) -> bytes:
        if self.tell() == 0:
            self.looks -= 1
        piece = super().read(size)
        if self.looks == 0:
            self.getbuffer()[-1:] = b"!"
        return piece


class Trickling(io.BytesIO):
    """A file without a buffer, which gives less than was asked for."""

    def read(self, size: int | None = -1) -> bytes:
        return super().read(min(size, 70_001) if size and size > 0 else size)


def test_a_file_is_put_without_being_read_as_a_whole(store: BlobStore, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(LARGE)

    with (tmp_path / "large").open("rb") as file:
        file.seek(7)
        store.put("acme", sha256_of(LARGE), file, "text/plain")

    assert store.get("acme", sha256_of(LARGE)) == LARGE


def test_a_file_that_trickles_is_put_whole(store: BlobStore) -> None:
    store.put("acme", sha256_of(LARGE), Trickling(LARGE), "text/plain")

    assert store.get("acme", sha256_of(LARGE)) == LARGE


def test_a_blob_is_read_in_pieces(store: BlobStore) -> None:
    store.put("acme", sha256_of(LARGE), LARGE, "text/plain")

    pieces = opened(store, sha256=sha256_of(LARGE))

    assert b"".join(pieces) == LARGE
    assert len(pieces) >= 3
    assert max(map(len, pieces)) <= 1024 * 1024


def test_an_empty_blob_has_no_pieces(store: BlobStore) -> None:
    store.put("acme", sha256_of(b""), b"", "text/plain")

    assert b"".join(opened(store, sha256=sha256_of(b""))) == b""


def test_a_missing_blob_is_told_before_the_first_piece(store: BlobStore) -> None:
    with pytest.raises(FileNotStored, match="is not stored"), store.open("acme", HASH):
        pytest.fail("there is nothing to read")


@pytest.mark.parametrize("damage", [LARGE[:-1], LARGE[:-1] + b"!", LARGE + b"!", b""])
def test_whoever_reads_all_pieces_of_a_damaged_blob_is_told(place: Place, damage: bytes) -> None:
    sha256 = sha256_of(LARGE)
    place.overwrite(f"acme/sha256/{sha256[:2]}/{sha256[2:]}", damage)

    with pytest.raises(FileNotStored, match="is damaged"):
        opened(place.store, sha256=sha256)


def test_a_reader_may_stop_in_the_middle(store: BlobStore) -> None:
    store.put("acme", sha256_of(LARGE), LARGE, "text/plain")

    with store.open("acme", sha256_of(LARGE)) as pieces:
        assert LARGE.startswith(next(pieces))

    assert store.get("acme", sha256_of(LARGE)) == LARGE


def test_an_error_of_the_reader_stays_its_own(store: BlobStore) -> None:
    store.put("acme", HASH, PICTURE, "image/png")

    with pytest.raises(ValueError, match="my own"), store.open("acme", HASH):
        raise ValueError("my own")


def test_a_file_that_changes_while_it_is_put_is_refused_and_never_seen(place: Place) -> None:
    changing = Changing(LARGE, looks=place.looks)

    with pytest.raises(FileRejected, match=sha256_of(LARGE)):
        place.store.put("acme", sha256_of(LARGE), changing, "text/plain")

    assert changing.looks == 0
    assert not place.store.exists("acme", sha256_of(LARGE))
    assert hashes(place.store) == []


# Listings


def test_a_listing_tells_size_and_time(store: BlobStore) -> None:
    started = datetime.now(UTC)
    store.put("acme", HASH, PICTURE, "image/png")

    (blob,) = store.list("acme")

    assert (blob.sha256, blob.size) == (HASH, len(PICTURE))
    # A server's clock may be another, and some keep whole seconds.
    assert abs(blob.modified_at - started) < timedelta(minutes=15)


def test_a_listing_goes_on_behind_any_hash(store: BlobStore) -> None:
    contents = [f"file {number}".encode() for number in range(12)]
    for content in contents:
        store.put("acme", sha256_of(content), content, "text/plain")
    known = sorted(map(sha256_of, contents))

    for index, sha256 in enumerate(known):
        assert hashes(store, after=sha256) == known[index + 1 :]
    assert hashes(store, after="0" * 64) == known
    assert hashes(store, after=known[4][:-1] + ("0" if known[4][-1] != "0" else "1"))[-7:] == known[5:]


@pytest.mark.parametrize("after", ["../x", HASH[:-1], HASH.upper()])
def test_a_listing_behind_what_is_no_hash_is_refused(store: BlobStore, after: str) -> None:
    with pytest.raises(InvalidInput, match="after"):
        list(store.list("acme", after=after))


def test_a_listing_may_be_left_in_the_middle(store: BlobStore) -> None:
    for number in range(5):
        content = f"file {number}".encode()
        store.put("acme", sha256_of(content), content, "text/plain")

    first = [blob.sha256 for blob in islice(store.list("acme"), 2)]

    assert first + hashes(store, after=first[-1]) == hashes(store)


def test_tenants_are_those_who_have_something(place: Place) -> None:
    assert list(place.store.list_tenants()) == []
    for tenant in ("b-tenant", "b", "Acme", "a.c"):
        place.store.put(tenant, HASH, PICTURE, "image/png")
    place.overwrite("readme", b"no tenant")
    place.overwrite("..hidden/sha256/readme", b"no tenant")

    found = list(place.store.list_tenants())

    assert found == ["Acme", "a.c", "b", "b-tenant"]


def test_blobs_and_what_is_half_written_are_no_uploads(place: Place) -> None:
    place.store.put("acme", HASH, PICTURE, "image/png")
    place.overwrite(f"acme/staging/.partial-{HASH[:32]}", b"half")

    assert list(place.store.list_uploads("acme")) == list(place.store.list_uploads("nobody")) == []


# All of a tenant


def test_a_tenant_goes_with_everything_and_nobody_else_does(store: BlobStore) -> None:
    for number in range(5):
        content = f"file {number}".encode()
        store.put("acme", sha256_of(content), content, "text/plain")
    for other in ("acm", "acme2", "acme.x"):
        store.put(other, HASH, PICTURE, "image/png")

    assert store.delete_tenant("acme") == 5
    assert store.delete_tenant("acme") == 0

    assert hashes(store) == []
    assert sorted(store.list_tenants()) == ["acm", "acme.x", "acme2"]


def test_a_tenant_that_was_deleted_can_come_back(store: BlobStore) -> None:
    store.put("acme", HASH, PICTURE, "image/png")
    store.delete_tenant("acme")

    store.put("acme", HASH, PICTURE, "image/png")

    assert hashes(store) == [HASH]
