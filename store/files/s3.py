"""Blobs in a bucket of S3, or of a server that speaks like it: `prefix/tenant/ab/cdef…`.

What stays true: boto3 is imported at first use; one client serves all threads of a process and is
never taken across a fork, whose two sides would share its sockets; every error of the driver
becomes one of ours here, in a line that holds no secret.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from threading import Lock
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from conversation.checks import check_tenant
from conversation.errors import FileStoreUnavailable
from store.files.blobs import (
    as_download,
    check_address,
    check_content,
    check_expires,
    check_undamaged,
    is_sha256,
    not_stored,
)

if TYPE_CHECKING:  # the stubs are no part of an installation
    from botocore.exceptions import ClientError
    from mypy_boto3_s3 import S3Client

_MISSING_KEY = {"404", "NoSuchKey", "NotFound"}
_WRONG_KEYS = {
    "401", "403", "AccessDenied", "AuthorizationHeaderMalformed", "ExpiredToken", "InvalidAccessKeyId",
    "InvalidToken", "SignatureDoesNotMatch", "TokenRefreshRequired",
}  # fmt: skip


class S3Blobs:
    """Keeps blobs in a bucket, which has to exist. Needs the rights to get, put, delete and list."""

    def __init__(
        self,
        bucket: str,
        prefix: str = "",
        *,
        endpoint_url: str = "",
        access_key_id: str = "",
        secret_access_key: str = "",
        region: str = "us-east-1",
        connect_timeout_seconds: float = 3,
        read_timeout_seconds: float = 20,
        max_attempts: int = 3,
        max_connections: int = 50,
    ) -> None:
        self.bucket = bucket
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._endpoint_url = endpoint_url
        self._keys = (access_key_id, secret_access_key)
        self._region = region
        self._options: dict[str, Any] = {
            "connect_timeout": connect_timeout_seconds,
            "read_timeout": read_timeout_seconds,
            "retries": {"mode": "standard", "total_max_attempts": max_attempts},
            "max_pool_connections": max_connections,
        }
        self._forget_client()

    def put(self, tenant: str, sha256: str, content: bytes, media_type: str) -> None:
        check_content(sha256, content)
        key = self._key(tenant, sha256)
        if self._size(key) == len(content):
            return
        with self._translated() as client:
            client.put_object(
                Bucket=self.bucket,
                Key=key,
                Body=content,
                ContentType=media_type,
                Metadata={"sha256": sha256},
            )

    def get(self, tenant: str, sha256: str) -> bytes:
        key = self._key(tenant, sha256)
        with self._translated() as client:
            try:
                content = client.get_object(Bucket=self.bucket, Key=key)["Body"].read()
            except client.exceptions.NoSuchKey:
                raise not_stored(tenant, sha256) from None
        return check_undamaged(tenant, sha256, content)

    def exists(self, tenant: str, sha256: str) -> bool:
        return self._size(self._key(tenant, sha256)) is not None

    def delete(self, tenant: str, sha256: str) -> None:
        key = self._key(tenant, sha256)
        with self._translated() as client:
            client.delete_object(Bucket=self.bucket, Key=key)

    def list(self, tenant: str) -> Iterator[str]:
        check_tenant(tenant)
        folder = f"{self._prefix}{tenant}/"
        token: dict[str, Any] = {}
        while True:
            with self._translated() as client:
                page = client.list_objects_v2(Bucket=self.bucket, Prefix=folder, **token)
            for item in page.get("Contents", ()):
                sha256 = item["Key"].removeprefix(folder).replace("/", "", 1)
                if is_sha256(sha256) and item["Key"] == self._key(tenant, sha256):
                    yield sha256
            if not page.get("IsTruncated"):
                return
            token = {"ContinuationToken": page["NextContinuationToken"]}

    def url(self, tenant: str, sha256: str, *, expires: timedelta, filename: str, media_type: str) -> str:
        key = self._key(tenant, sha256)
        seconds = check_expires(expires)
        with self._translated() as client:
            return client.generate_presigned_url(
                "get_object",
                Params={
                    "Bucket": self.bucket,
                    "Key": key,
                    "ResponseContentDisposition": as_download(filename),
                    "ResponseContentType": media_type,
                },
                ExpiresIn=seconds,
            )

    def close(self) -> None:
        client = self._client
        self._forget_client()
        if client is not None:
            client.close()

    def _key(self, tenant: str, sha256: str) -> str:
        check_address(tenant, sha256)
        return f"{self._prefix}{tenant}/{sha256[:2]}/{sha256[2:]}"

    def _size(self, key: str) -> int | None:
        """The size of an object in bytes; None where there is none."""
        with self._translated() as client:
            try:
                return client.head_object(Bucket=self.bucket, Key=key)["ContentLength"]
            except client.exceptions.ClientError as error:
                if _code(error) not in _MISSING_KEY:
                    raise
            # The answer to HEAD has no body, so that a missing bucket looks like a missing object.
            client.head_bucket(Bucket=self.bucket)
        return None

    def _forget_client(self) -> None:
        self._client: S3Client | None = None
        self._lock = Lock()
        # Last: whoever sees the process renewed sees the other two renewed.
        self._process = os.getpid()

    def _connected(self) -> "S3Client":
        if self._process != os.getpid():
            self._forget_client()
        with self._lock:
            if self._client is None:
                self._client = self._connect()
            return self._client

    def _connect(self) -> "S3Client":
        from boto3.session import Session
        from botocore.config import Config

        access_key_id, secret_access_key = self._keys
        # A session of its own: boto3's default one must not be used by two threads at once.
        return Session().client(
            "s3",
            endpoint_url=self._endpoint_url or None,
            aws_access_key_id=access_key_id or None,
            aws_secret_access_key=secret_access_key or None,
            region_name=self._region,
            config=Config(
                # Left alone, boto3 presigns for custom endpoints with the retired version 2.
                signature_version="s3v4",
                # The signed hash of the payload is what the server checks the upload against, also over TLS.
                s3={
                    "addressing_style": "path" if self._endpoint_url else "auto",
                    "payload_signing_enabled": True,
                },
                # The newer default checksums are refused by some servers that speak S3.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                **self._options,
            ),
        )

    @contextmanager
    def _translated(self) -> Iterator["S3Client"]:
        """The border at which the driver's errors become ours. Hands out the client."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield self._connected()
        except ClientError as error:
            raise FileStoreUnavailable(self._told(error)) from None
        except (BotoCoreError, ValueError) as error:
            raise FileStoreUnavailable(
                f"{self._place()}: {self._shown(error)}; "
                "check THREADMILL_S3_ENDPOINT_URL, and that the server runs"
            ) from None

    def _told(self, error: "ClientError") -> str:
        code = _code(error)
        if code == "NoSuchBucket" or code in _MISSING_KEY:
            return f"{self._place()}: there is no such bucket; create it, or mend THREADMILL_FILE_STORE"
        if code in _WRONG_KEYS:
            return (
                f"{self._place()}: access was refused ({code}); check THREADMILL_S3_ACCESS_KEY_ID, "
                "THREADMILL_S3_SECRET_ACCESS_KEY and their rights to get, put, delete and list"
            )
        return (
            f"{self._place()}: the server answered {code} to {error.operation_name}; "
            "try again, or look at its log"
        )

    def _shown(self, error: Exception) -> str:
        text = " ".join(str(error).split())
        return text.replace(self._endpoint_url, "the endpoint") if self._endpoint_url else text

    def _place(self) -> str:
        """Where the trouble is, without what a URL may carry before its host."""
        server = f" at {urlsplit(self._endpoint_url).netloc.rpartition('@')[2]}" if self._endpoint_url else ""
        return f"bucket {self.bucket!r}{server}"


def _code(error: "ClientError") -> str:
    return str(error.response.get("Error", {}).get("Code", "an unknown error"))
