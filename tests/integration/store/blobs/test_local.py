"""What the local folder and memory promise beyond the others: privacy, crash safety, clear trouble."""

import errno
import hashlib
import os
import signal
import stat
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest

from conversation.errors import FileNotStored, FileStoreUnavailable, InvalidSettings, UploadsNotSupported
from store.blobs import LocalBlobs, MemoryBlobs, open_file_store
from store.settings import load

CONTENT = b"a file"
HASH = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def store(tmp_path: Path) -> LocalBlobs:
    return LocalBlobs(tmp_path / "files")


def put(store: LocalBlobs) -> Path:
    store.put("acme", HASH, CONTENT, "text/plain")
    return store.base / "acme" / "sha256" / HASH[:2] / HASH[2:]


def test_only_its_owner_can_look_inside(store: LocalBlobs) -> None:
    blob = put(store)

    folders = [folder for folder in blob.parents if folder.is_relative_to(store.base)]
    assert len(folders) == 4
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in folders} == {0o700}
    assert stat.S_IMODE(blob.stat().st_mode) == 0o600


def test_nothing_is_created_before_the_first_put(store: LocalBlobs) -> None:
    assert not store.exists("acme", HASH)
    assert list(store.list("acme")) == []
    store.delete("acme", HASH)

    assert not store.base.exists()


def test_a_relative_folder_stays_where_it_was_when_the_store_was_opened(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = LocalBlobs("./files")

    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    put(store)

    assert (tmp_path / "files" / "acme").is_dir()


def test_the_folder_itself_may_be_a_link_to_another_disk(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "files").symlink_to(tmp_path / "disk")
    store = LocalBlobs(tmp_path / "files")

    put(store)

    assert store.get("acme", HASH) == CONTENT
    assert (tmp_path / "disk" / "acme").is_dir()


@pytest.mark.parametrize("link", ["acme", "acme/sha256", f"acme/sha256/{HASH[:2]}"])
@pytest.mark.parametrize("target", ["outside", "files/other", "files/loop"])
def test_a_link_to_elsewhere_is_neither_read_nor_written_nor_emptied(tmp_path: Path, link: str, target: str) -> None:
    store = LocalBlobs(tmp_path / "files")
    outside = tmp_path / target
    if not target.endswith("loop"):
        for folder in (outside, outside / HASH[:2], outside / "sha256" / HASH[:2]):
            folder.mkdir(parents=True)
            (folder / HASH[2:]).write_bytes(CONTENT)
    before = sorted(outside.rglob("*"))
    (store.base / link).parent.mkdir(parents=True, exist_ok=True)
    (store.base / link).symlink_to(outside if not target.endswith("loop") else store.base / link)

    for verb in (store.get, store.exists, store.delete):
        with pytest.raises(FileStoreUnavailable, match="link to elsewhere"):
            verb("acme", HASH)
    with pytest.raises(FileStoreUnavailable):
        put(store)

    if link == "acme":
        with pytest.raises(FileStoreUnavailable, match="link to elsewhere"):
            store.delete_tenant("acme")
    else:
        store.delete_tenant("acme")

    assert sorted(outside.rglob("*")) == before


def test_a_link_in_the_place_of_a_blob_is_replaced_and_never_followed(store: LocalBlobs, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(CONTENT)
    blob = put(store)
    blob.unlink()
    blob.symlink_to(secret)

    with pytest.raises(FileNotStored):
        store.get("acme", HASH)
    assert not store.exists("acme", HASH)
    assert list(store.list("acme")) == []

    assert not put(store).is_symlink()
    assert store.get("acme", HASH) == CONTENT
    store.delete("acme", HASH)
    assert secret.read_bytes() == CONTENT


DIES_BEFORE_RENAME = """
import os, signal, sys
from pathlib import Path
from store.blobs import LocalBlobs

sys.addaudithook(lambda event, _: event == "os.rename" and os.kill(os.getpid(), signal.SIGKILL))
LocalBlobs(sys.argv[1]).put("acme", sys.argv[2], b"a file", "text/plain")
"""


def test_a_crash_before_the_end_leaves_nothing_that_is_listed_or_read(store: LocalBlobs) -> None:
    crashed = subprocess.run([sys.executable, "-c", DIES_BEFORE_RENAME, str(store.base), HASH], check=False)

    assert crashed.returncode == -signal.SIGKILL
    assert len(list((store.base / "acme" / "staging").iterdir())) == 1
    assert list(store.list("acme")) == []
    assert not store.exists("acme", HASH)

    put(store)
    assert [blob.sha256 for blob in store.list("acme")] == [HASH]


def test_what_a_crash_left_is_removed_a_day_later_by_a_put(store: LocalBlobs) -> None:
    put(store)
    staging = store.base / "acme" / "staging"
    for name, hours in ((".partial-old", 25), (".partial-new", 23), ("no-partial", 25)):
        (staging / name).write_bytes(b"half")
        os.utime(staging / name, (time.time() - hours * 3600,) * 2)

    put(store)

    assert sorted(path.name for path in staging.iterdir()) == [".partial-new", "no-partial"]


def test_a_damaged_blob_of_the_same_size_is_healed_by_a_put(store: LocalBlobs) -> None:
    put(store).write_bytes(b"A FILE")

    put(store)

    assert store.get("acme", HASH) == CONTENT


def test_a_tenant_goes_with_its_folder(store: LocalBlobs) -> None:
    put(store)
    (store.base / "acme" / "staging" / ".partial-new").write_bytes(b"half")

    assert store.delete_tenant("acme") == 2

    assert list(store.base.iterdir()) == []


def test_browsers_cannot_upload_into_a_folder(store: LocalBlobs) -> None:
    with pytest.raises(UploadsNotSupported, match=r"THREADMILL_FILE_STORE_URL name a bucket"):
        store.upload_url("acme", "one", sha256=HASH, size=6, media_type="text/plain", expires=timedelta(hours=1))
    with pytest.raises(UploadsNotSupported):
        store.discard_upload("acme", "one")


def test_memory_is_shared_in_a_process_and_refuses_uploads_too() -> None:
    one, other = (open_file_store(load(file_store_url="memory:")) for _ in range(2))
    tenant = f"t{time.time_ns()}"

    one.put(tenant, HASH, CONTENT, "text/plain")

    assert other.get(tenant, HASH) == CONTENT
    assert not MemoryBlobs().exists(tenant, HASH)
    with pytest.raises(UploadsNotSupported):
        other.discard_upload(tenant, "one")
    assert other.delete_tenant(tenant) == 1


@pytest.mark.parametrize(
    ("number", "fix"),
    [
        (errno.ENOSPC, "free space there, or point THREADMILL_FILE_STORE_URL at a larger disk"),
        (errno.EDQUOT, "free space there"),
        (errno.EROFS, "let this user read and write it"),
        (errno.EIO, "check that it is a folder on a working disk"),
    ],
)
def test_a_disk_that_refuses_is_named_with_the_fix_and_nothing_is_left(
    store: LocalBlobs, monkeypatch: pytest.MonkeyPatch, number: int, fix: str
) -> None:
    def refuse(_: int) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as disk:
        disk.setattr(os, "fsync", refuse)
        store.base.mkdir()
        with pytest.raises(FileStoreUnavailable) as told:
            put(store)

    assert f"cannot write file store {store.base}: {os.strerror(number)}; {fix}" in str(told.value)
    assert [path for path in store.base.rglob("*") if path.is_file()] == []


def test_a_file_where_the_folder_should_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "files").write_bytes(b"")
    store = LocalBlobs(tmp_path / "files")

    with pytest.raises(FileStoreUnavailable, match=r"files.*; check that it is a folder"):
        put(store)
    with pytest.raises(FileStoreUnavailable, match="check that it is a folder"):
        list(store.list("acme"))


def test_a_url_is_the_path_of_the_file(tmp_path: Path) -> None:
    store = LocalBlobs(tmp_path / "my files")

    address = store.url("acme", HASH, expires=timedelta(hours=1), filename="a.txt", media_type="text/plain")

    assert address == f"file://{tmp_path}/my%20files/acme/sha256/{HASH[:2]}/{HASH[2:]}"


@pytest.mark.parametrize("place", ["s3://", "s3:///prefix", "gs://bucket", "s3://key:secret@bucket", "http://x/y"])
def test_a_place_that_is_neither_folder_nor_bucket_is_a_wrong_setting(place: str) -> None:
    with pytest.raises(InvalidSettings, match="THREADMILL_FILE_STORE_URL") as told:
        open_file_store(load(file_store_url=place))

    assert "key:secret" not in str(told.value)
