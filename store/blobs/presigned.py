"""Presigned uploads: a browser puts a file straight into the store of blobs, and only the declared one.

What stays true: what a browser sends lies under `staging`, where no blob is read from, until its
bytes were read and have the declared hash. A store that browsers cannot reach says so.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NoReturn, Protocol

from conversation.errors import InvalidInput, UploadsNotSupported
from conversation.validation import check_tenant

_UPLOAD_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True)
class PresignedUpload:
    """All that a client needs for one upload. The URL is a secret: its holder may upload."""

    url: str
    method: str
    #: To be sent exactly like this; the length of the body is sent by every client by itself.
    headers: Mapping[str, str]
    #: After this moment the server refuses to begin; aware.
    expires_at: datetime


@dataclass(frozen=True)
class StagedUpload:
    """An upload as a listing names it: its bytes are unchecked."""

    upload_id: str
    #: In bytes.
    size: int
    #: When it was put, by the clock of the server that keeps it; aware.
    modified_at: datetime


class BlobUploads(Protocol):
    """The verbs of presigned uploads.

    Each but `list_uploads` raises `UploadsNotSupported` where browsers cannot reach the store.
    """

    def upload_url(
        self, tenant: str, upload_id: str, *, sha256: str, size: int, media_type: str, expires: timedelta
    ) -> PresignedUpload:
        """Let a client upload so many bytes of this type and hash, until the URL expires, also twice.

        `upload_id` is 1 to 64 letters, digits, `-` and `_`. Raises `InvalidInput`.
        """
        ...

    def read_upload(self, tenant: str, upload_id: str) -> AbstractContextManager[Iterator[bytes]]:
        """The uploaded bytes in pieces of about 1 MiB, unchecked. Raises `FileNotStored` at once."""
        ...

    def adopt_upload(self, tenant: str, upload_id: str, sha256: str, media_type: str) -> None:
        """Make what was uploaded a blob, durably; any number of times. The upload stays: discard it.

        The bytes are read once and copied inside the server. Raises `FileNotStored` where nothing was
        uploaded, and `FileRejected` where it does not have this hash or changes meanwhile.
        """
        ...

    def discard_upload(self, tenant: str, upload_id: str) -> None:
        """Remove what was uploaded, if anything. Until its URL expires it may be uploaded again."""
        ...

    def list_uploads(self, tenant: str) -> Iterator[StagedUpload]:
        """The uploads of a tenant that were not discarded, ascending by id; read page by page.

        Nothing, where browsers cannot reach the store. What was put or discarded meanwhile may be missed.
        """
        ...


class NoUploads:
    """The verbs of uploads, of a store that no browser can reach."""

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise UploadsNotSupported(
            "browsers can upload to S3 only: let THREADMILL_FILE_STORE_URL name a bucket as "
            "s3://bucket/prefix, or send the file through your own server"
        )

    upload_url = read_upload = adopt_upload = discard_upload = _refuse

    def list_uploads(self, tenant: str) -> Iterator[StagedUpload]:
        check_tenant(tenant)
        return iter(())


def check_upload_id(upload_id: object) -> str:
    """Refuse an id that could leave the folder of uploads. Raises `InvalidInput`."""
    if not isinstance(upload_id, str) or not is_upload_id(upload_id):
        raise InvalidInput("upload_id", "is no plain name", "use 1 to 64 of A-Z a-z 0-9 - _")
    return upload_id


def is_upload_id(text: str) -> bool:
    """Whether a text can be the id of an upload."""
    return _UPLOAD_ID.fullmatch(text) is not None
