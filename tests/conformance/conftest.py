"""The places that the suite runs on: each of our stores, and an S3 server of yours if you name one.

S3_CONFORMANCE_ENDPOINT, _KEY, _SECRET, _BUCKET and, where it matters, _REGION name it. Everything is put
under a prefix of this run's own, which is emptied afterwards; nothing else in the bucket is touched.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from conversation.validation import is_sha256
from store.blobs import BlobStore, LocalBlobs, MemoryBlobs, S3Blobs, S3Options
from store.blobs.memory import BlobContent
from tests.conftest import S3

#: What the variables of your own server begin with.
YOURS = "S3_CONFORMANCE_"
S3_PLACES = ["s3", *(["yours"] if os.environ.get(f"{YOURS}ENDPOINT") else [])]


class Place:
    """A store, and a way behind its back."""

    def __init__(self, store: BlobStore, overwrite: Callable[[str, bytes], None], *, looks: int = 2) -> None:
        self.store = store
        #: Replace or create what is kept under `tenant/sha256/ab/cdef…`.
        self.overwrite = overwrite
        #: How often a file is read when it is put.
        self.looks = looks


class Bucket:
    """A bucket of a real server, and the beginning of what is this test's own in it."""

    def __init__(self, s3: S3, prefix: str, region: str = "us-east-1") -> None:
        self.s3, self.prefix = s3, prefix
        self.client = s3.client(region_name=region)
        self.options = S3Options(
            endpoint_url=s3.endpoint, access_key_id=s3.key, secret_access_key=s3.secret, region=region
        )

    def store(self, **options: Any) -> S3Blobs:
        """A store over it; the options stand in for the usual ones."""
        return S3Blobs(self.s3.bucket, self.prefix, replace(self.options, **options))

    def write(self, key: str, content: bytes) -> None:
        self.client.put_object(Bucket=self.s3.bucket, Key=f"{self.prefix}/{key}", Body=content)

    def keys(self) -> list[str]:
        """All that is there now, without the prefix."""
        found = self.client.list_objects_v2(Bucket=self.s3.bucket, Prefix=f"{self.prefix}/")
        return [item["Key"].removeprefix(f"{self.prefix}/") for item in found.get("Contents", ())]

    def unfinished(self) -> list[tuple[str, str]]:
        """Key and id of uploads in parts that nobody finished or dropped."""
        found = self.client.list_multipart_uploads(Bucket=self.s3.bucket)
        return [
            (item["Key"], item["UploadId"])
            for item in found.get("Uploads", ())
            if item["Key"].startswith(f"{self.prefix}/")
        ]

    def empty(self) -> None:
        for page in self.client.get_paginator("list_object_versions").paginate(
            Bucket=self.s3.bucket, Prefix=f"{self.prefix}/"
        ):
            for item in [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]:
                self.client.delete_object(Bucket=self.s3.bucket, Key=item["Key"], VersionId=item["VersionId"])
        for key, upload in self.unfinished():
            self.client.abort_multipart_upload(Bucket=self.s3.bucket, Key=key, UploadId=upload)
        self.client.close()


@contextmanager
def your_bucket() -> Iterator[Bucket]:
    named = {name: os.environ.get(YOURS + name, "") for name in ("ENDPOINT", "KEY", "SECRET", "BUCKET")}
    missing = [YOURS + name for name, value in named.items() if not value]
    assert not missing, f"set {', '.join(missing)} as well"
    s3 = S3(named["ENDPOINT"], named["KEY"], named["SECRET"], named["BUCKET"])
    bucket = Bucket(s3, f"threadmill-conformance/{uuid4().hex}", os.environ.get(f"{YOURS}REGION") or "us-east-1")
    try:
        yield bucket
    finally:
        bucket.empty()


@pytest.fixture(params=S3_PLACES)
def bucket(request: pytest.FixtureRequest) -> Iterator[Bucket]:
    """A bucket of each server that speaks S3."""
    if request.param == "yours":
        with your_bucket() as yours:
            yield yours
        return
    ours = Bucket(request.getfixturevalue("s3"), "kept/here")
    yield ours
    ours.client.close()


@pytest.fixture(params=["local", pytest.param("memory", marks=pytest.mark.soak), *S3_PLACES])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """Each of the stores, with nothing in it."""
    if request.param == "yours":
        with your_bucket() as yours:
            yield Place(yours.store(), yours.write)
        return
    opened = {"local": in_folder, "memory": in_memory, "s3": in_bucket}[request.param](request, tmp_path)
    yield opened
    opened.store.close()


def in_folder(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    def overwrite(key: str, content: bytes) -> None:
        path = tmp_path / "files" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    return Place(LocalBlobs(tmp_path / "files"), overwrite)


def in_memory(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    store = MemoryBlobs()

    def overwrite(key: str, content: bytes) -> None:
        tenant, _, name = key.partition("/sha256/")
        if name[2:3] == "/" and is_sha256(name.replace("/", "", 1)):  # a dictionary has no room for strays
            store._tenants.setdefault(tenant, {})[name.replace("/", "", 1)] = BlobContent(content)

    return Place(store, overwrite, looks=1)


def in_bucket(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    ours = Bucket(request.getfixturevalue("s3"), "kept/here")
    request.addfinalizer(ours.client.close)
    return Place(ours.store(), ours.write)


@pytest.fixture
def store(place: Place) -> BlobStore:
    return place.store
