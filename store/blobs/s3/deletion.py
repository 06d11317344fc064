"""Deletion of objects, in buckets that keep old versions too.

What stays true: what was deleted is gone, not hidden: in a bucket with versions, each of them and
the marks of deletions are removed. A deletion that is not known to be complete raises, and may be repeated.
"""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from conversation.errors import FileStoreUnavailable
from store.blobs.s3.bucket import NOT_SUPPORTED, REFUSED, S3Bucket, code_of

#: Objects of one request: a page of a listing, and what a deletion takes.
BATCH = 1000


def delete_object(bucket: S3Bucket, key: str) -> None:
    """Remove one object, if it is there, with all its versions."""
    if not bucket.keeps_versions():
        with bucket.use_client() as client:
            answer = client.delete_object(Bucket=bucket.name, Key=key)
        # Versions may have been switched on since the bucket was asked, or it may not be asked.
        if not (answer.get("DeleteMarker") or answer.get("VersionId")):
            return
    for page in _list_pages(bucket, key, versions=True):
        _delete(bucket, [item for item in page if item["Key"] == key])


def delete_folder(bucket: S3Bucket, folder: str) -> int:
    """Remove everything whose key begins with `folder`, a page at a time; returns how many objects.

    Unfinished uploads in parts are dropped, and not counted.
    """
    removed = 0
    for page in _list_pages(bucket, folder, versions=_can_list_versions(bucket, folder)):
        _delete(bucket, page)
        removed += sum("IsMarker" not in item for item in page)
    _drop_unfinished(bucket, folder)
    return removed


def _can_list_versions(bucket: S3Bucket, folder: str) -> bool:
    """Whether versions can be listed. Where they are kept and cannot be, this raises."""
    if bucket.keeps_versions():
        return True
    with bucket.use_client() as client:
        try:
            client.list_object_versions(Bucket=bucket.name, Prefix=folder, MaxKeys=1)
        except client.exceptions.ClientError as error:
            if code_of(error) not in REFUSED | NOT_SUPPORTED:
                raise
            return False
    return True


def _list_pages(bucket: S3Bucket, prefix: str, *, versions: bool) -> Iterator[list[dict[str, Any]]]:
    """The objects under a prefix, page by page; with `versions`, each version and each mark of a deletion."""
    verb = "list_object_versions" if versions else "list_objects_v2"
    for answer in bucket.list_pages(verb, Prefix=prefix, PaginationConfig={"PageSize": BATCH}):
        marks = ({**mark, "IsMarker": True} for mark in answer.get("DeleteMarkers", ()))
        yield [*answer.get("Contents", ()), *answer.get("Versions", ()), *marks]


def _delete(bucket: S3Bucket, page: list[dict[str, Any]]) -> None:
    if not page:
        return
    objects = [{name: item[name] for name in ("Key", "VersionId") if name in item} for item in page]
    with bucket.use_client() as client:
        answer = client.delete_objects(Bucket=bucket.name, Delete={"Objects": objects})  # type: ignore[typeddict-item]
    codes = {failed.get("Code", "an unknown error") for failed in answer.get("Errors", ())}
    if codes:
        raise FileStoreUnavailable(
            f"{bucket}: some objects were not deleted ({', '.join(sorted(codes))}); try again, and check the "
            "rights s3:DeleteObject and s3:DeleteObjectVersion, and that no object is locked"
        )
    if any(item.get("DeleteMarker") for item in answer.get("Deleted", ()) if not item.get("VersionId")):
        raise FileStoreUnavailable(
            f"{bucket}: it keeps versions, which are still there; give these keys the rights "
            "s3:ListBucketVersions and s3:DeleteObjectVersion, and try again"
        )


def _drop_unfinished(bucket: S3Bucket, folder: str) -> None:
    with bucket.use_client() as client:
        try:
            pages = list(client.get_paginator("list_multipart_uploads").paginate(Bucket=bucket.name, Prefix=folder))
        except client.exceptions.ClientError as error:
            if code_of(error) not in NOT_SUPPORTED:
                raise
            return
        for upload in (upload for page in pages for upload in page.get("Uploads", ())):
            # Its sender may have finished or dropped it meanwhile.
            with suppress(client.exceptions.NoSuchUpload):
                client.abort_multipart_upload(Bucket=bucket.name, Key=upload["Key"], UploadId=upload["UploadId"])
