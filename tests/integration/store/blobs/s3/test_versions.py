"""Buckets that keep old versions: what is deleted is gone from them too."""

import hashlib
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from conversation.errors import FileStoreUnavailable
from store.blobs import S3Blobs, S3Options
from tests.conftest import S3
from tests.integration.store.blobs.s3.s3_relay import S3Relay

pytestmark = pytest.mark.soak

CONTENT = b"a file"
HASH = hashlib.sha256(CONTENT).hexdigest()
KEY = f"acme/sha256/{HASH[:2]}/{HASH[2:]}"


def set_versions(s3: S3, status: str) -> None:
    s3.client().put_bucket_versioning(Bucket=s3.bucket, VersioningConfiguration={"Status": status})


def versions(s3: S3) -> list[tuple[str, str]]:
    """All that is there, hidden or not: keys, and what they are."""
    found = s3.client().list_object_versions(Bucket=s3.bucket)
    return [(item["Key"], kind) for kind in ("Versions", "DeleteMarkers") for item in found.get(kind, ())]


@pytest.fixture
def relay(s3: S3) -> Iterator[S3Relay]:
    with S3Relay(s3.endpoint) as relay:
        yield relay


@pytest.fixture
def store(s3: S3, relay: S3Relay) -> Iterator[S3Blobs]:
    opened = S3Blobs(s3.bucket, options=S3Options(relay.endpoint, s3.key, s3.secret))
    yield opened
    opened.close()


def put(store: S3Blobs, tenant: str = "acme") -> None:
    store.put(tenant, HASH, CONTENT, "text/plain")


def refuse(store: S3Blobs, *operations: str, code: str) -> None:
    """Let the server answer these operations with an error."""

    def answer(model: Any, **_: object) -> None:
        raise ClientError({"Error": {"Code": code}}, model.name)

    for operation in operations:
        store._bucket.get_client().meta.events.register(f"before-call.s3.{operation}", answer)


@pytest.mark.parametrize("status", ["Enabled", "Suspended"])
def test_a_deleted_blob_leaves_no_version_behind(store: S3Blobs, s3: S3, status: str) -> None:
    set_versions(s3, "Enabled")
    for _ in range(2):
        put(store)
        s3.client().delete_object(Bucket=s3.bucket, Key=KEY)
    put(store)
    put(store, "other")
    set_versions(s3, status)
    assert len(versions(s3)) == 6

    store.delete("acme", HASH)
    store.delete("acme", HASH)

    assert versions(s3) == [(KEY.replace("acme", "other"), "Versions")]


def test_an_unversioned_bucket_is_asked_once(store: S3Blobs, relay: S3Relay) -> None:
    for _ in range(3):
        put(store)
        store.delete("acme", HASH)

    assert relay.count("GET", "versioning") == 1
    assert relay.count("GET", "versions") == 0
    assert relay.count("DELETE") == 3


def test_versions_that_are_switched_on_later_are_noticed(store: S3Blobs, s3: S3) -> None:
    put(store)
    store.delete("acme", HASH)
    set_versions(s3, "Enabled")
    put(store)

    store.delete("acme", HASH)

    assert versions(s3) == []


@pytest.mark.parametrize("code", ["AccessDenied", "NotImplemented", "MethodNotAllowed"])
def test_a_bucket_that_may_not_be_asked_tells_by_its_answers(store: S3Blobs, s3: S3, code: str) -> None:
    set_versions(s3, "Enabled")
    refuse(store, "GetBucketVersioning", code=code)
    put(store)

    store.delete("acme", HASH)

    assert versions(s3) == []


def test_versions_that_may_not_be_listed_are_told(store: S3Blobs, s3: S3) -> None:
    set_versions(s3, "Enabled")
    put(store)
    refuse(store, "ListObjectVersions", code="AccessDenied")

    with pytest.raises(FileStoreUnavailable, match=r"AccessDenied.* to ListObjectVersions"):
        store.delete("acme", HASH)
    with pytest.raises(FileStoreUnavailable, match=r"AccessDenied.* to ListObjectVersions"):
        store.delete_tenant("acme")

    assert versions(s3) != []


def test_a_tenant_goes_with_all_versions(store: S3Blobs, s3: S3) -> None:
    set_versions(s3, "Enabled")
    for tenant in ("acme", "other"):
        put(store, tenant)
        s3.client().delete_object(Bucket=s3.bucket, Key=KEY.replace("acme", tenant))
        put(store, tenant)

    assert store.delete_tenant("acme") == 2

    assert {key.partition("/")[0] for key, _ in versions(s3)} == {"other"}


def test_many_versions_go_a_page_at_a_time(store: S3Blobs, s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("store.blobs.s3.deletion.BATCH", 3)
    set_versions(s3, "Enabled")
    client = s3.client()
    for number in range(5):
        for _ in range(2):
            client.put_object(Bucket=s3.bucket, Key=f"acme/sha256/{number}", Body=b"x")

    assert store.delete_tenant("acme") == 10

    assert versions(s3) == []


@pytest.mark.parametrize("code", ["NotImplemented", "MethodNotAllowed"])
def test_a_server_without_versions_deletes_what_it_lists(store: S3Blobs, s3: S3, code: str) -> None:
    refuse(store, "GetBucketVersioning", "ListObjectVersions", "ListMultipartUploads", code=code)
    put(store)

    assert store.delete_tenant("acme") == 1
    assert versions(s3) == []


def test_objects_that_stay_are_told(store: S3Blobs, s3: S3) -> None:
    put(store)
    store._bucket.get_client().meta.events.register("after-call.s3.DeleteObjects", locked)

    with pytest.raises(FileStoreUnavailable, match=r"not deleted \(AccessDenied\).*no object is locked"):
        store.delete_tenant("acme")


def hidden(parsed: dict[str, Any], **_: object) -> None:
    parsed["Deleted"] = [{"Key": KEY, "DeleteMarker": True, "DeleteMarkerVersionId": "1"}]


def locked(parsed: dict[str, Any], **_: object) -> None:
    parsed["Errors"] = [{"Key": KEY, "Code": "AccessDenied", "Message": "Access Denied"}]


def test_objects_that_are_only_hidden_are_told(store: S3Blobs, s3: S3) -> None:
    put(store)
    refuse(store, "GetBucketVersioning", "ListObjectVersions", code="AccessDenied")
    store._bucket.get_client().meta.events.register("after-call.s3.DeleteObjects", hidden)

    with pytest.raises(FileStoreUnavailable, match="it keeps versions, which are still there"):
        store.delete_tenant("acme")


def test_a_deletion_of_many_carries_the_sum_that_older_servers_want(store: S3Blobs, relay: S3Relay) -> None:
    put(store)

    store.delete_tenant("acme")

    (asked,) = [heard for heard in relay.heard if heard.method == "POST" and "delete" in heard.query]
    assert len(asked.headers["content-md5"]) == 24
