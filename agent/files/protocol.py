"""The protocol of stored files, as a run uses them."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from agent.files.token_budget import FileTokenBudget
from agent.models.capabilities import Capabilities
from conversation.attachment import Attachment
from conversation.message import Message


class AttachmentReader(Protocol):
    """The files of messages: stores those of tools, builds content parts of them, and opens them."""

    async def store_all(self, tenant: str, files: Sequence[Attachment]) -> Sequence[Attachment]:
        """Store the files of one message, and return them without their bytes.

        Raises `FileRejected`, `LimitReached` and `FileStoreUnavailable`.
        """
        ...

    async def build_parts(
        self, tenant: str, messages: Sequence[Message], capabilities: Capabilities, budget: FileTokenBudget
    ) -> Mapping[str, Sequence[Mapping[str, Any]]]:
        """Build a part for each file, by message id. Raises `FileStoreUnavailable`."""
        ...

    async def list_thread_files(self, tenant: str, thread_id: str) -> Sequence[Attachment]:
        """The files of the thread's history, the newest first."""
        ...

    async def open(self, tenant: str, file: Attachment) -> bytes:
        """The bytes of a file. Raises `FileRejected` (blocked), `FileNotStored`, `FileStoreUnavailable`."""
        ...
