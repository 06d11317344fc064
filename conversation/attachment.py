"""A file that belongs to a message: what it is called, what it is, and where its bytes are.

Before it is stored it carries its `content`; afterwards it is addressed by `sha256` and the bytes
are read through a file store. What a caller declares about a file is never trusted: the store
sniffs the type from the bytes.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conversation.arguments import check_whole_number
from conversation.download_name import make_download_name
from conversation.errors import InvalidInput
from conversation.filename import FILENAME_MAX_CHARS, clean_filename
from conversation.quotation import quote
from conversation.validation import check_sha256, check_text

#: Bytes of a file, at most: far above what any store takes.
SIZE_MAX = 2**50


@dataclass(init=False, slots=True)
class Attachment:
    """One file of one message."""

    #: A plain name, without what people cannot see: it is cleaned when the attachment is made.
    filename: str
    #: The bytes, until they are stored; None on an attachment that was loaded.
    content: bytes | None = None
    #: What the caller says it is; replaced by what its bytes are when it is stored.
    media_type: str | None = None
    #: Lower-case hex SHA-256 of the bytes: with the tenant, its address in the file store.
    sha256: str | None = None
    #: In bytes.
    size: int | None = None

    def __init__(
        self,
        *,
        filename: str,
        content: bytes | None = None,
        media_type: str | None = None,
        sha256: str | None = None,
        size: int | None = None,
        mime_type: str | None = None,
    ) -> None:
        """`mime_type` is another name of `media_type`. Raises `InvalidInput`."""
        self.filename = clean_filename("attachments.filename", filename)
        self.content = None if content is None else _check_content(content)
        self.media_type = _check_media_type(media_type, mime_type)
        self.sha256, self.size = _check_address(sha256, size)
        if self.content is not None:
            self.sha256 = hashlib.sha256(self.content).hexdigest()
            self.size = len(self.content)
        elif self.sha256 is None:
            raise InvalidInput("attachments.content", "is missing", "pass the file's bytes")

    def check(self) -> None:
        """Check every field. Raises `InvalidInput` with one that was set since to what cannot be stored."""
        clean_filename("attachments.filename", self.filename)
        _check_media_type(self.media_type, None)
        _check_address(self.sha256, self.size)
        if self.content is not None:
            self.content = _check_content(self.content)
        elif self.sha256 is None:
            raise InvalidInput("attachments.content", "is missing", "pass the file's bytes")

    @property
    def mime_type(self) -> str | None:
        """Another name of `media_type`."""
        return self.media_type

    @property
    def download_name(self) -> str:
        """The name to hand the file out under: `run.bat` is saved as `run.bat.txt`, which no system runs."""
        return make_download_name(self.filename, self.media_type)

    def to_json(self) -> dict[str, Any]:
        """The attachment's name, media type, hash and size as JSON values; never its bytes."""
        return {"filename": self.filename, "media_type": self.media_type, "sha256": self.sha256, "size": self.size}

    @classmethod
    def from_path(cls, path: str | Path) -> "Attachment":
        """Read a local file. Raises `OSError` as `open` does."""
        path = Path(path)
        return cls(filename=path.name, content=path.read_bytes())


def _check_content(content: object) -> bytes:
    if isinstance(content, str):
        raise InvalidInput("attachments.content", "is text", "encode it: content.encode()")
    # bytes(5) would be five NULs.
    if not isinstance(content, bytes | bytearray | memoryview):
        raise InvalidInput("attachments.content", f"is {type(content).__name__}", "pass the file's bytes")
    return bytes(content)


def _check_media_type(media_type: str | None, alias: str | None) -> str | None:
    if media_type is None:
        media_type, alias = alias, None
    if media_type is not None:
        check_text("attachments.media_type", media_type, max_chars=FILENAME_MAX_CHARS)
        if not media_type.isprintable():
            problem = "holds characters that cannot be printed"
            raise InvalidInput("attachments.media_type", problem, "pass a type, as image/png")
    # Not compared before both are text: their own methods may fail.
    if alias is not None and check_text("attachments.mime_type", alias, max_chars=FILENAME_MAX_CHARS) != media_type:
        raise InvalidInput("attachments.mime_type", f"is {quote(alias)}", "pass media_type alone")
    return media_type


def _check_address(sha256: str | None, size: int | None) -> tuple[str | None, int | None]:
    if sha256 is not None:
        check_sha256("attachments.sha256", sha256)
    if size is not None:
        size = check_whole_number("attachments.size", size, maximum=SIZE_MAX, fix="pass a number of bytes")
    return sha256, size
