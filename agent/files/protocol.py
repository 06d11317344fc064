"""The seam to stored files: what a run asks of them."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from agent.files.token_budget import FileRoom
from agent.models.capabilities import Capabilities
from conversation.attachment import Attachment
from conversation.message import Message


class AttachmentReader(Protocol):
    """Stores files that tools bring, turns the files of messages into content parts, and opens them."""

    async def store_all(self, tenant: str, files: Sequence[Attachment]) -> Sequence[Attachment]:
        """The files of one message without their bytes, once they are stored.

        Raises `FileRefused`, `LimitReached` and `FileStoreUnavailable`.
        """
        ...

    async def parts(
        self, tenant: str, messages: Sequence[Message], capabilities: Capabilities, room: FileRoom
    ) -> Mapping[str, Sequence[Mapping[str, Any]]]:
        """By message id, a part for each of its files. Raises `FileStoreUnavailable`."""
        ...

    async def of_thread(self, tenant: str, thread_id: str) -> Sequence[Attachment]:
        """The files of the thread's history, the newest first."""
        ...

    async def open(self, tenant: str, file: Attachment) -> bytes:
        """Raises `FileRefused` for one that is blocked, `FileNotStored`, `FileStoreUnavailable`."""
        ...
