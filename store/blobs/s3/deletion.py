"""How objects go, in buckets that keep old versions too.

What stays true: what was deleted is gone, not hidden: in a bucket with versions, each of them and
the marks of deletions are removed. A deletion that is not known to be complete raises, and may be repeated.
"""

from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any

from conversation.errors import FileStoreUnavailable
from store.blobs.s3.bucket import NOT_SUPPORTED, REFUSED, S3Place, code_of

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

#: Objects of one request: a page of a listing, and what a deletion takes.
BATCH = 1000


def delete_object(place: S3Place, key: str) -> None:
    """Remove one object, if it is there, with all its versions."""
    if not place.keeps_versions():
        with place.translated() as client:
            answer = client.delete_object(Bucket=place.bucket, Key=key)
        # Versions may have been switched on since the bucket was asked, or it may not be asked.
        if not (answer.get("DeleteMarker") or answer.get("VersionId")):
            return
    for page in _pages(place, key, versions=True):
        _delete(place, [item for item in page if item["Key"] == key])


def delete_folder(place: S3Place, folder: str) -> int:
    """Remove everything whose key begins with `folder`, a page at a time; returns how many objects.

    Uploads in parts that nobody finished are dropped, and not counted.
    """
    removed = 0
    for page in _pages(place, folder, versions=_lists_versions(place, folder)):
        _delete(place, page)
        removed += sum("IsMarker" not in item for item in page)
    _drop_unfinished(place, folder)
    return removed


def _lists_versions(place: S3Place, folder: str) -> bool:
    """Whether versions can be listed. Where they are kept and cannot be, this raises."""
    if place.keeps_versions():
        return True
    with place.translated() as client:
        try:
            client.list_object_versions(Bucket=place.bucket, Prefix=folder, MaxKeys=1)
        except client.exceptions.ClientError as error:
            if code_of(error) not in REFUSED | NOT_SUPPORTED:
                raise
            return False
    return True


def _pages(place: S3Place, prefix: str, *, versions: bool) -> Iterator[list[dict[str, Any]]]:
    """The objects under a prefix as a deletion wants them named, page by page."""
    where: dict[str, Any] = {"Bucket": place.bucket, "Prefix": prefix, "MaxKeys": BATCH}
    more = True
    while more:
        with place.translated() as client:
            page, more = _version_page(client, where) if versions else _current_page(client, where)
        if page:
            yield page


def _version_page(client: "S3Client", where: dict[str, Any]) -> tuple[list[dict[str, Any]], bool]:
    answer = client.list_object_versions(**where)
    if answer["IsTruncated"]:
        where["KeyMarker"] = answer["NextKeyMarker"]
        where["VersionIdMarker"] = answer["NextVersionIdMarker"]
    kept = ({"Key": item["Key"], "VersionId": item["VersionId"]} for item in answer.get("Versions", ()))
    marks = (
        {"Key": item["Key"], "VersionId": item["VersionId"], "IsMarker": True}
        for item in answer.get("DeleteMarkers", ())
    )
    return list(chain(kept, marks)), answer["IsTruncated"]


def _current_page(client: "S3Client", where: dict[str, Any]) -> tuple[list[dict[str, Any]], bool]:
    answer = client.list_objects_v2(**where)
    if answer["IsTruncated"]:
        where["ContinuationToken"] = answer["NextContinuationToken"]
    return [{"Key": item["Key"]} for item in answer.get("Contents", ())], answer["IsTruncated"]


def _delete(place: S3Place, page: list[dict[str, Any]]) -> None:
    if not page:
        return
    objects = [{name: item[name] for name in ("Key", "VersionId") if name in item} for item in page]
    with place.translated() as client:
        answer = client.delete_objects(Bucket=place.bucket, Delete={"Objects": objects})  # type: ignore[typeddict-item]
    codes = {failed.get("Code", "an unknown error") for failed in answer.get("Errors", ())}
    if codes:
        raise FileStoreUnavailable(
            f"{place}: some objects were not deleted ({', '.join(sorted(codes))}); try again, and check the "
            "rights s3:DeleteObject and s3:DeleteObjectVersion, and that no object is locked"
        )
    if any(item.get("DeleteMarker") for item in answer.get("Deleted", ()) if not item.get("VersionId")):
        raise FileStoreUnavailable(
            f"{place}: it keeps versions, which are still there; give these keys the rights "
            "s3:ListBucketVersions and s3:DeleteObjectVersion, and try again"
        )


def _drop_unfinished(place: S3Place, folder: str) -> None:
    where: dict[str, Any] = {"Bucket": place.bucket, "Prefix": folder}
    more = True
    while more:
        with place.translated() as client:
            try:
                answer = client.list_multipart_uploads(**where)
            except client.exceptions.ClientError as error:
                if code_of(error) not in NOT_SUPPORTED:
                    raise
                return
            for upload in answer.get("Uploads", ()):
                _abort(client, place.bucket, upload["Key"], upload["UploadId"])
        where |= {
            "KeyMarker": answer.get("NextKeyMarker"),
            "UploadIdMarker": answer.get("NextUploadIdMarker"),
        }
        more = answer["IsTruncated"]


def _abort(client: "S3Client", bucket: str, key: str, upload_id: str) -> None:
    try:
        client.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload_id)
    except client.exceptions.NoSuchUpload:
        return  # whoever sent it came to an end meanwhile
