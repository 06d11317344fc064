"""What a run is handed by whoever owns it: a model, a journal, files, threads for tools.

What stays true: the loop reaches the world through these alone, so that a worker, a library call and
a test run it in the same way.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from agent.events import Event
from agent.files.token_budget import FileRoom
from agent.journal import Journal
from agent.models.capabilities import Capabilities
from agent.models.protocol import Model
from agent.tools.thread_pool import ToolThreads
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Hands:
    """What a run is handed: it owns none of it."""

    model: Model
    #: As the request names it.
    model_name: str
    journal: Journal
    attachments: AttachmentReader
    tool_threads: ToolThreads
    #: Attempts at a turn, while its model is away, before it fails.
    max_attempts: int = 5
    #: Told what happens; None where nobody watches.
    emit: Callable[[Event], None] | None = None
