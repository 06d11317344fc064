"""A bucket on S3, or on a server that speaks like it: how it is reached, and what went wrong.

What stays true: boto3 is imported at first use; one client serves all threads of a process and is
never taken across a fork, whose two sides would share its sockets; every error of the driver
becomes one of ours here, in a line that holds no secret.
"""

import base64
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from conversation.errors import FileStoreUnavailable
from store.blobs.download_headers import served_type
from store.blobs.protocol import check_address

if TYPE_CHECKING:  # the stubs are no part of an installation
    from botocore.exceptions import ClientError
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import HeadObjectOutputTypeDef

#: Error codes for an object that is not there.
MISSING_KEY = {"404", "NoSuchKey", "NotFound"}
#: Error codes of servers that do not have the verb.
NOT_SUPPORTED = {"405", "501", "MethodNotAllowed", "NotImplemented", "UnsupportedOperation", "XNotImplemented"}
#: Error codes of a request that these keys may not make.
REFUSED = {
    "401", "403", "AccessDenied", "AuthorizationHeaderMalformed", "ExpiredToken", "InvalidAccessKeyId",
    "InvalidToken", "SignatureDoesNotMatch", "TokenRefreshRequired",
}  # fmt: skip


@dataclass(frozen=True)
class S3Options:
    """How a server is reached, and how it is to keep objects."""

    #: Empty means AWS.
    endpoint_url: str = ""
    #: Empty means boto3's own chain: environment, profile, instance role.
    access_key_id: str = field(default="", repr=False)
    secret_access_key: str = field(default="", repr=False)
    region: str = "us-east-1"
    connect_timeout_seconds: float = 3
    read_timeout_seconds: float = 20
    #: Of one request, the first one counted; between two, botocore waits for 0 to 1, 2, 4 … seconds.
    max_attempts: int = 3
    #: Connections that are kept open for the next request.
    max_connections: int = 50
    #: `AES256`, `aws:kms`, or empty for what the bucket does by itself.
    sse: str = ""
    sse_kms_key_id: str = ""
    storage_class: str = ""
    #: From this size on an object is sent in parts, each of so many bytes and held in memory.
    multipart_bytes: int = 32 * 1024 * 1024
    part_bytes: int = 16 * 1024 * 1024

    def storage_options(self) -> dict[str, str]:
        """The options of every request that makes an object, by boto3's names."""
        options = {
            "ServerSideEncryption": self.sse,
            "SSEKMSKeyId": self.sse_kms_key_id,
            "StorageClass": self.storage_class,
        }
        return {name: value for name, value in options.items() if value}


class S3Bucket:
    """A bucket, which has to exist, and the beginning of all keys in it."""

    def __init__(self, name: str, prefix: str, options: S3Options) -> None:
        self.name = name
        self.prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self.options = options
        self._forget_client()

    def _forget_client(self) -> None:
        self._client: S3Client | None = None
        self._keeps_versions: bool | None = None
        self._lock = Lock()
        # Last: a thread that sees the process renewed sees the others renewed.
        self._process = os.getpid()

    def key(self, tenant: str, sha256: str) -> str:
        """The key of a blob. Raises `InvalidInput` for an address that is none."""
        check_address(tenant, sha256)
        return f"{self.prefix}{tenant}/sha256/{sha256[:2]}/{sha256[2:]}"

    def object_options(self, sha256: str, media_type: str) -> dict[str, Any]:
        """The options that an object is made with, besides its bytes.

        Its type is none that a browser runs, for those who serve the bucket by themselves.
        """
        return {
            "ContentType": served_type(media_type),
            "Metadata": {"sha256": sha256},
            **self.options.storage_options(),
        }

    def head(self, key: str) -> "HeadObjectOutputTypeDef | None":
        """The server's description of an object; None where there is none, or no such bucket."""
        with self.use_client() as client:
            try:
                return client.head_object(Bucket=self.name, Key=key, ChecksumMode="ENABLED")
            except client.exceptions.ClientError as error:
                if code_of(error) not in MISSING_KEY:
                    raise
        return None

    def get_size(self, key: str) -> int | None:
        """The size of an object in bytes; None where there is none. A bucket that is missing is an error."""
        head = self.head(key)
        if head is None:
            # The answer to HEAD has no body, so that a missing bucket looks like a missing object.
            with self.use_client() as client:
                client.head_bucket(Bucket=self.name)
            return None
        return head["ContentLength"]

    def list_pages(self, verb: Any = "list_objects_v2", **request: Any) -> Iterator[Any]:
        """Answers to a verb that lists, one page in memory at a time."""
        with self.use_client() as client:
            yield from client.get_paginator(verb).paginate(Bucket=self.name, **request)

    def keeps_versions(self) -> bool:
        """Whether the bucket says that it keeps old versions; asked once for each client.

        False as well where the server or its rules do not let us ask: then the answer to each
        deletion has to tell.
        """
        if self._keeps_versions is None:
            with self.use_client() as client:
                try:
                    answer = client.get_bucket_versioning(Bucket=self.name)
                    self._keeps_versions = bool(answer.get("Status"))
                except client.exceptions.ClientError as error:
                    if code_of(error) not in REFUSED | NOT_SUPPORTED:
                        raise
                    self._keeps_versions = False
        return self._keeps_versions

    def get_client(self) -> "S3Client":
        """The client of this process, whose errors are the driver's own. See `use_client`."""
        if self._process != os.getpid():
            self._forget_client()
        with self._lock:
            if self._client is None:
                self._client = _connect(self.options)
            return self._client

    def close(self) -> None:
        """Release the connections. The next verb opens others."""
        client = self._client
        self._forget_client()
        if client is not None:
            client.close()

    @contextmanager
    def use_client(self) -> Iterator["S3Client"]:
        """Use the client, with the driver's errors translated into ours."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield self.get_client()
        except ClientError as error:
            raise FileStoreUnavailable(self._describe_error(error)) from None
        except (BotoCoreError, ValueError) as error:
            raise FileStoreUnavailable(
                f"{self}: {self._redact(error)}; check THREADMILL_S3_ENDPOINT_URL, and that the server runs"
            ) from None

    def __str__(self) -> str:
        """The bucket and server, for error texts: without what a URL may carry before its host."""
        endpoint = self.options.endpoint_url
        server = f" at {urlsplit(endpoint).netloc.rpartition('@')[2]}" if endpoint else ""
        return f"bucket {self.name!r}{server}"

    def _describe_error(self, error: "ClientError") -> str:
        code = code_of(error)
        if code == "NoSuchBucket" or code in MISSING_KEY:
            return f"{self}: there is no such bucket; create it, or mend THREADMILL_FILE_STORE_URL"
        if code in REFUSED:
            return (
                f"{self}: access was refused ({code}) to {error.operation_name}; "
                "check THREADMILL_S3_ACCESS_KEY_ID, "
                "THREADMILL_S3_SECRET_ACCESS_KEY and their rights to get, put, delete and list"
            )
        return f"{self}: the server answered {code} to {error.operation_name}; try again, or look at its log"

    def _redact(self, error: Exception) -> str:
        text = " ".join(str(error).split())
        return text.replace(self.options.endpoint_url or "\n", "the endpoint")


def code_of(error: "ClientError") -> str:
    """The server's code for the error; for an answer without a body, its HTTP status."""
    return str(error.response.get("Error", {}).get("Code", "an unknown error"))


def _connect(options: S3Options) -> "S3Client":
    from boto3.session import Session
    from botocore.config import Config

    # A session of its own: boto3's default one must not be used by two threads at once.
    client = Session().client(
        "s3",
        endpoint_url=options.endpoint_url or None,
        aws_access_key_id=options.access_key_id or None,
        aws_secret_access_key=options.secret_access_key or None,
        region_name=options.region,
        config=Config(
            # Left alone, boto3 presigns for custom endpoints with the retired version 2.
            signature_version="s3v4",
            # The signed hash of the payload is what the server checks the upload against, also over TLS.
            s3={"addressing_style": "path" if options.endpoint_url else "auto", "payload_signing_enabled": True},
            # The newer default checksums are refused by some servers that speak S3.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            connect_timeout=options.connect_timeout_seconds,
            read_timeout=options.read_timeout_seconds,
            # Standard: backs off exponentially with full jitter, and stops where everything fails.
            retries={"mode": "standard", "total_max_attempts": options.max_attempts},
            max_pool_connections=options.max_connections,
        ),
    )
    client.meta.events.register("before-sign.s3.DeleteObjects", _add_md5)
    return client


def _add_md5(request: Any, **_: object) -> None:
    """Add an MD5 of the body, which some servers want for this verb and boto3 replaced with another sum."""
    digest = hashlib.md5(request.body, usedforsecurity=False).digest()
    request.headers["Content-MD5"] = base64.b64encode(digest).decode()
