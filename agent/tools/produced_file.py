"""A file that a tool produced: the tool returns it, and it is attached to the call's tool message.

What stays true: its name is a plain file name, so that it becomes an attachment without a further
check. Its type is what the tool says; the store finds out what the bytes are.
"""

from dataclasses import dataclass, field
from typing import Any

from conversation.attachment import Attachment
from conversation.media_types import UNKNOWN_TYPE


@dataclass(frozen=True, slots=True)
class ProducedFile:
    """A file on its way from a tool to the conversation. Raises `InvalidInput` for a name with folders."""

    filename: str
    content: bytes = field(repr=False)
    media_type: str = UNKNOWN_TYPE
    #: Lower-case hex SHA-256 of the content.
    sha256: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sha256", self.to_attachment().sha256)

    def to_attachment(self) -> Attachment:
        """The file as a message carries it, with its bytes."""
        return Attachment(filename=self.filename, content=self.content, media_type=self.media_type)

    def describe(self) -> dict[str, Any]:
        """Describe the file to the model, which reads that in its place."""
        return {
            "attached": self.filename,
            "media_type": self.media_type,
            "size_bytes": len(self.content),
            "sha256": self.sha256,
        }
