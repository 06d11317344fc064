"""A file that belongs to a message: what it is called, what it is, and where its bytes are.

Before it is stored it carries its `content`; afterwards it is addressed by `sha256` and the bytes
are read through a file store. What a caller declares about a file is never trusted: the store
sniffs the type from the bytes.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conversation.errors import InvalidInput
from conversation.filename import FILENAME_MAX_CHARS, clean_filename
from conversation.validation import check_text

#: Bytes of a file, at most: far above what any store takes.
SIZE_MAX = 2**50

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(kw_only=True, slots=True)
class Attachment:
    """One file of one message."""

    #: A plain name, without what people cannot see: it is cleaned when the attachment is made.
    filename: str
    #: The bytes, until they are stored; None on an attachment that was loaded.
    content: bytes | None = None
    #: What the caller says it is; replaced by what its bytes are when it is stored.
    mime_type: str | None = None
    #: Lower-case hex SHA-256 of the bytes: with the tenant, its address in the file store.
    sha256: str | None = None
    #: In bytes.
    size: int | None = None

    def __post_init__(self) -> None:
        self.filename = clean_filename("attachments.filename", self.filename)
        if self.mime_type is not None:
            check_text("attachments.mime_type", self.mime_type, max_chars=FILENAME_MAX_CHARS)
        if isinstance(self.content, str):
            raise InvalidInput("attachments.content", "is text", "encode it: content.encode()")
        if self.content is None and self.sha256 is None:
            raise InvalidInput("attachments.content", "is missing", "pass the file's bytes")
        if self.sha256 is not None and not _SHA256.fullmatch(str(self.sha256)):
            raise InvalidInput("attachments.sha256", "is no hash", "pass 64 lower-case hex digits")
        if self.size is not None and (
            isinstance(self.size, bool) or not isinstance(self.size, int) or not 0 <= self.size <= SIZE_MAX
        ):
            raise InvalidInput("attachments.size", f"is {self.size!r}", "pass a number of bytes")
        if self.content is not None:
            # bytes(5) would be five NULs.
            if not isinstance(self.content, bytes | bytearray | memoryview):
                raise InvalidInput(
                    "attachments.content", f"is {type(self.content).__name__}", "pass the file's bytes"
                )
            self.content = bytes(self.content)
            self.sha256 = hashlib.sha256(self.content).hexdigest()
            self.size = len(self.content)

    def to_json(self) -> dict[str, Any]:
        """The attachment's name, media type, hash and size as JSON values; never its bytes."""
        return {
            "filename": self.filename,
            "mime_type": self.mime_type,
            "sha256": self.sha256,
            "size": self.size,
        }

    @classmethod
    def from_path(cls, path: str | Path) -> "Attachment":
        """Read a local file. Raises `OSError` as `open` does."""
        path = Path(path)
        return cls(filename=path.name, content=path.read_bytes())
