"""A producer: stores a user's message with its turn, and rings.

What stays true: when `send` returns, the message and its turn are committed (or stand in the
caller's own transaction); attachments are stored before any row points to them; every refusal
comes before the first write.
"""

import asyncio
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from conversation.attachment import Attachment
from conversation.bell import PRIORITY_MAX
from conversation.checks import check_id, check_metadata, check_tenant, check_text
from conversation.errors import InvalidInput
from conversation.ids import new_id
from conversation.message import Message
from producers.ring import Bellringer
from producers.signals import Signals
from producers.turn import AsyncTurn, Turn
from store import inbox
from store.borrow import Borrowable, borrowed
from store.engine import Database
from store.files import BlobStore, examine, open_file_store
from store.inbox import Accepted, Request
from store.settings import Settings, current

#: Who may speak through a producer: the others are the agent's own words.
SENDERS = ("user", "system")

#: An attachment, or the path of a file to attach.
Attachable = Attachment | str | Path


class Producer:
    """One installation, as those see it who send messages to it."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or current()
        self.database = Database(self.settings)
        self.bellringer = Bellringer(self.settings)
        self.signals = Signals(self.settings)

    @cached_property
    def blobs(self) -> BlobStore:
        """Where attachments go. Opened with the first one: an S3 client takes a while to import."""
        return open_file_store(self.settings)

    def send(
        self, thread_id: str, content: str, *, connection: Borrowable | None = None, **options: Any
    ) -> Turn:
        """Store a message and the turn that answers it; see `producers.send_message`."""
        request = self._request(thread_id, content, rings=connection is None, **options)
        self._store_attachments(request)
        if connection is not None:
            with borrowed(connection) as ours:
                accepted = inbox.accept(ours, request)
        else:
            accepted = self.database.run(partial(inbox.accept, request=request))
        turn = Turn(**self._handle(request, accepted))
        if connection is None and accepted.is_new and request.not_before is None:
            turn.ring()
        return turn

    async def send_async(
        self, thread_id: str, content: str, *, connection: Any = None, **options: Any
    ) -> AsyncTurn:
        """As `send`, on the event loop; `connection` is an `AsyncConnection` or an `AsyncSession`."""
        request = self._request(thread_id, content, rings=connection is None, **options)
        if request.attachments:
            await asyncio.to_thread(self._store_attachments, request)
        if connection is not None:
            accepted = await connection.run_sync(partial(_accept_on, request=request))
        else:
            accepted = await self.database.run_async(partial(inbox.accept, request=request))
        turn = AsyncTurn(**self._handle(request, accepted))
        if connection is None and accepted.is_new and request.not_before is None:
            await turn.ring()
        return turn

    def turn(self, turn_id: str) -> Turn:
        """The handle of a turn that was sent before. Raises `TurnNotFound`."""
        from store import turns

        record = self.database.run(partial(turns.read, turn_id=turn_id))
        return Turn(
            id=record.id, tenant=record.tenant, thread_id=record.thread_id, is_new=False, producer=self
        )

    def close(self) -> None:
        """Close the database's connections and the ring's thread."""
        self.bellringer.close()
        self.database.close()

    def _request(
        self,
        thread_id: str,
        content: str,
        *,
        rings: bool,
        attachments: Iterable[Attachable] = (),
        agent: str | None = None,
        idempotency_key: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        tenant: str = "default",
        priority: int = 0,
        not_before: datetime | None = None,
        deadline: datetime | None = None,
        role: str = "user",
        allow_unknown_agent: bool = False,
    ) -> Request:
        if role not in SENDERS:
            raise InvalidInput("role", f"is {role!r}", f"use one of {', '.join(SENDERS)}")
        if isinstance(priority, bool) or not isinstance(priority, int) or not 0 <= priority <= PRIORITY_MAX:
            raise InvalidInput(
                "priority", f"is {priority!r}", f"pass a whole number from 0 to {PRIORITY_MAX}"
            )
        files = self._examined(attachments)
        if not files and not (isinstance(content, str) and content.strip()):
            check_text("content", content)
            raise InvalidInput("content", "is empty", "pass some text, or attach a file")
        checked_metadata = check_metadata("metadata", metadata)
        message = Message(role=role, content=content, attachments=files, metadata=checked_metadata)  # type: ignore[arg-type]
        return Request(
            turn_id=new_id(),
            tenant=check_tenant(tenant),
            thread_id=check_id("thread_id", thread_id),
            message=message,
            agent=check_id("agent", agent if agent is not None else self.settings.default_agent),
            allow_unknown_agent=allow_unknown_agent,
            idempotency_key=None if idempotency_key is None else check_id("idempotency_key", idempotency_key),
            priority=priority,
            not_before=_aware("not_before", not_before),
            deadline=_aware("deadline", deadline),
            metadata=checked_metadata,
            rings=rings,
        )

    def _examined(self, attachments: Iterable[Attachable]) -> list[Attachment]:
        """The files, each checked against its own bytes and the settings' limits."""
        if isinstance(attachments, str | bytes | Path | Attachment):
            raise InvalidInput("attachments", "is one file", "pass a list of attachments or paths")
        files = [file if isinstance(file, Attachment) else Attachment.from_path(file) for file in attachments]
        if len(files) > self.settings.attachments_max_count:
            raise InvalidInput(
                "attachments", f"are {len(files)}", f"at most {self.settings.attachments_max_count} fit"
            )
        return [self._examined_one(file) for file in files]

    def _examined_one(self, file: Attachment) -> Attachment:
        if file.content is None:
            raise InvalidInput("attachments.content", "is missing", "pass the file's bytes")
        media_type = examine(
            file.filename,
            file.content,
            file.mime_type,
            max_bytes=self.settings.attachment_max_bytes,
            allowed=self.settings.attachment_types,
        )
        return Attachment(filename=file.filename, content=file.content, mime_type=media_type)

    def _store_attachments(self, request: Request) -> None:
        for file in request.attachments:
            assert file.sha256 is not None
            assert file.content is not None
            self.blobs.put(request.tenant, file.sha256, file.content, file.mime_type or "")

    def _handle(self, request: Request, accepted: Accepted) -> dict[str, Any]:
        return {
            "id": accepted.turn_id,
            "tenant": request.tenant,
            "thread_id": request.thread_id,
            "is_new": accepted.is_new,
            "producer": self,
            "priority": request.priority,
        }


def _accept_on(lender: Any, request: Request) -> Accepted:
    with borrowed(lender) as ours:
        return inbox.accept(ours, request)


def _aware(field: str, value: datetime | None) -> datetime | None:
    if value is None:
        return None
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise InvalidInput(field, "has no time zone", "pass an aware datetime, as datetime.now(UTC)")
    return value.astimezone(UTC)
