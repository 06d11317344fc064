"""The settings of files: where bytes are kept, what is accepted, how it is scanned and prepared."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, Field, SecretStr, model_validator

from store.settings.units import CommaSeparated, LimitOfTenant, NonEmptyText, Seconds, TenantLimit
from store.settings.variables import variable


class FileStoreSettings(BaseModel):
    """Where the bytes of files are kept, and how an S3 server is talked to."""

    #: Where attachments are kept: a folder, `s3://bucket/prefix`, or `memory:` of one process.
    file_store_url: NonEmptyText = "./.threadmill/files"
    #: The S3-compatible server; empty means AWS.
    s3_endpoint_url: str = ""
    #: Empty means boto3's own chain: environment, profile, instance role.
    s3_access_key_id: str = Field("", repr=False)
    #: Belongs to the access key id.
    s3_secret_access_key: SecretStr = SecretStr("")
    #: Where the bucket is; servers other than AWS mostly take any.
    s3_region: NonEmptyText = "us-east-1"
    #: Seconds to wait for the S3 server to accept a connection.
    s3_connect_timeout_seconds: Seconds = 3
    #: Seconds to wait for more of an answer of the S3 server.
    s3_read_timeout_seconds: Seconds = 20
    #: Attempts at one request to the S3 server, with a growing random pause between two.
    s3_max_attempts: int = Field(3, ge=1, le=20)
    #: How the S3 server encrypts objects: `AES256` or `aws:kms`; empty means as the bucket says.
    s3_sse: Literal["", "AES256", "aws:kms"] = ""
    #: The key of `aws:kms`; empty means the account's own.
    s3_sse_kms_key_id: str = ""
    #: The storage class of objects, as `STANDARD_IA`; empty means the server's default.
    s3_storage_class: Annotated[str, Field(pattern=r"^[A-Z0-9_]*$")] = ""
    #: Bytes from which an object is sent in parts.
    s3_multipart_bytes: int = Field(32 * 1024 * 1024, ge=5 * 1024 * 1024, le=5 * 1024**3)
    #: Bytes of one such part, each held in memory.
    s3_part_bytes: int = Field(16 * 1024 * 1024, ge=5 * 1024 * 1024, le=5 * 1024**3)

    @model_validator(mode="after")
    def _check_kms_key(self) -> Self:
        if self.s3_sse_kms_key_id and self.s3_sse != "aws:kms":
            raise ValueError(f"{variable('s3_sse_kms_key_id')}: needs {variable('s3_sse')}=aws:kms")
        return self


class AttachmentSettings(BaseModel):
    """Which files are accepted, and how large they and all of them may be."""

    #: Bytes of one attachment, at most.
    attachment_max_bytes: int = Field(20 * 1024 * 1024, ge=1)
    #: Bytes of all attachments of one message, at most.
    message_max_bytes: int = Field(50 * 1024 * 1024, ge=1)
    #: Bytes of all files of one tenant, each counted once; 0 means any number.
    tenant_max_bytes: int = Field(0, ge=0)
    #: Bytes of one file that a client puts into the store by itself.
    upload_max_bytes: int = Field(100 * 1024 * 1024, ge=1)
    #: Attachments of one message, at most.
    attachments_max_count: int = Field(20, ge=0)
    #: Media types that are accepted, comma-separated; `image/*` means every image type. What may run
    #: (programs, SVG, Office files with macros and of the old formats) is accepted only by its own name.
    attachment_types: CommaSeparated = (
        "image/png",
        "image/jpeg",
        "image/gif",
        "image/webp",
        "application/pdf",
        "application/json",
        "text/*",
        "application/vnd.openxmlformats-officedocument.*",
        "application/vnd.oasis.opendocument.*",
        "audio/*",
        "video/*",
        "application/zip",
        "application/gzip",
        "application/x-tar",
        "application/x-7z-compressed",
        "application/x-bzip2",
        "application/x-xz",
        "application/vnd.rar",
        "application/epub+zip",
        "message/rfc822",
        "application/vnd.ms-outlook",
        "application/x-ipynb+json",
    )


class PreparationSettings(BaseModel):
    """How files are scanned, prepared and uploaded."""

    #: The virus scanner: `clamd://host:3310` or `clamd:///path/of/socket`; empty scans nothing.
    scanner_url: str = ""
    #: Seconds that the scanner may take over one file.
    scanner_timeout_seconds: Seconds = 60
    #: What reads text in scanned pages and pictures: `tesseract`, a program that the workers of files need; empty
    #: reads none.
    ocr: Literal["", "tesseract"] = ""
    #: The languages that OCR reads, as tesseract names them: `eng`, `eng+deu`.
    ocr_languages: Annotated[str, Field(pattern=r"^[A-Za-z0-9_/]+(\+[A-Za-z0-9_/]+)*$")] = "eng"
    #: Seconds that a turn waits for its files to be prepared before it is retried later.
    prepare_timeout_seconds: Seconds = 90
    #: Files of one tenant that are prepared at once: with `%`, the part of all places that it may take while files of
    #: other tenants are there, too (alone it may take all); a number holds at any time; 0 is no limit.
    tenant_max_running_files: LimitOfTenant = TenantLimit(percent=90)
    #: Seconds in which a client may put a file by itself, after it was given the address.
    upload_max_age_seconds: Seconds = 900

    @property
    def languages_to_recognize(self) -> str:
        """The languages in which text in pictures is read; "" where none is."""
        return self.ocr_languages if self.ocr else ""
