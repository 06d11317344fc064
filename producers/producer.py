"""A producer: stores a user's message with its turn, and rings.

What stays true: when `send` returns, the message and its turn are committed (or stand in the
caller's own transaction); attachments are stored before any row points to them; every refusal
comes before the first write.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from conversation.errors import InvalidInput
from conversation.ids import new_id
from conversation.message import Message
from conversation.task_contract import PRIORITY_MAX
from conversation.turn import TurnRecord
from conversation.validation import check_id, check_metadata, check_tenant_of_user, check_text
from producers.attachments import Attachable, examined
from producers.notifier import Bellringer
from producers.turn import AsyncTurn, Turn
from store.blobs import BlobStore, open_file_store
from store.database.engine import Database
from store.files.ingest import Keeper
from store.settings import Settings, current
from store.turns import inbox, records
from store.turns.inbox import Accepted, Request
from store.turns.requeue import Requeued, requeue

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from producers.signals import Signals
    from producers.uploads import Uploads
    from store.database.caller_connection import Borrowable

#: Who may speak through a producer: the others are the agent's own words.
SENDERS = ("user", "system")


class Producer:
    """One installation, as those see it who send messages to it."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or current()
        self._open()
        _producers.add(self)

    def _open(self) -> None:
        """Take up everything that does not survive a fork. Nothing is connected or started yet."""
        self.database = Database(self.settings)
        self.bellringer = Bellringer(self.settings)

    @cached_property
    def signals(self) -> "Signals":
        """Signals to and from waiters. The broker's client is imported by who waits or cancels."""
        from producers.signals import Signals

        return Signals(self.settings)

    @cached_property
    def blobs(self) -> BlobStore:
        """Where attachments go. Opened with the first one: an S3 client takes a while to import."""
        return open_file_store(self.settings)

    @property
    def uploads(self) -> "Uploads":
        """Files that clients put into the store, and fetch from it, by themselves."""
        from producers.uploads import Uploads

        return Uploads(self.database, self.blobs, self.settings)

    def send(
        self, thread_id: str, content: str, *, connection: "Borrowable | None" = None, **options: Any
    ) -> Turn:
        """Store a message and the turn that answers it; see `producers.send_message`."""
        request = self._prepared(thread_id, content, rings=connection is None, **options)
        if connection is not None:
            accepted = _accept_on(connection, request)
        else:
            accepted = self.database.run(partial(inbox.accept, request=request))
        turn = Turn(**self._handle(request, accepted))
        if connection is None and turn.needs_ring:
            turn.ring()
        return turn

    async def send_async(
        self, thread_id: str, content: str, *, connection: Any = None, **options: Any
    ) -> AsyncTurn:
        """As `send`, on the event loop; `connection` is an `AsyncConnection` or an `AsyncSession`."""
        prepare = partial(self._prepared, thread_id, content, rings=connection is None, **options)
        # Files are read, hashed and stored: too long for an event loop.
        request = await asyncio.to_thread(prepare) if options.get("attachments") else prepare()
        if connection is not None:
            accepted = await _run_sync(connection)(partial(_accept_on, request=request))
        else:
            accepted = await self.database.run_async(partial(inbox.accept, request=request))
        turn = AsyncTurn(**self._handle(request, accepted))
        if connection is None and turn.needs_ring:
            await turn.ring()
        return turn

    def turn(self, turn_id: str) -> Turn:
        """The handle of a turn that was sent before. Raises `TurnNotFound`."""
        return Turn(**self._found(self.database.run(partial(records.read, turn_id=turn_id))))

    async def turn_async(self, turn_id: str) -> AsyncTurn:
        """As `turn`, on the event loop."""
        return AsyncTurn(**self._found(await self.database.run_async(partial(records.read, turn_id=turn_id))))

    def requeue(self, turn_id: str) -> Turn:
        """Queue a turn again; see `producers.requeue_turn`."""
        turn = Turn(**self._requeued(self.database.run(_requeue(turn_id))))
        turn.ring()
        return turn

    async def requeue_async(self, turn_id: str) -> AsyncTurn:
        """As `requeue`, on the event loop."""
        turn = AsyncTurn(**self._requeued(await self.database.run_async(_requeue(turn_id))))
        await turn.ring()
        return turn

    def close(self) -> None:
        """Let rings on their way end, and close the connections of sync callers."""
        self.bellringer.close()
        self.database.close()

    async def close_async(self) -> None:
        """As `close`, with the running event loop's connections too."""
        await self.database.close_async()
        await asyncio.to_thread(self.close)

    def _prepared(self, thread_id: str, content: str, *, rings: bool, **options: Any) -> Request:
        """All that comes before the transaction: the checks, then the blobs."""
        self.bellringer.warm_up()
        request = self._request(thread_id, content, rings=rings, **options)
        if request.attachments:
            Keeper(self.database, self.blobs).keep(request.tenant, request.attachments)
        return request

    def _request(
        self,
        thread_id: str,
        content: str,
        *,
        rings: bool,
        attachments: Iterable[Attachable] | None = None,
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
        _check_priority(priority)
        files = examined(attachments, self.settings)
        if not files and not (isinstance(content, str) and content.strip()):
            check_text("content", content)
            raise InvalidInput("content", "is empty", "pass some text, or attach a file")
        checked_metadata = check_metadata("metadata", metadata)
        message = Message(role=role, content=content, attachments=files, metadata=checked_metadata)  # type: ignore[arg-type]
        return Request(
            turn_id=new_id(),
            tenant=check_tenant_of_user(tenant),
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
            message_max_bytes=self.settings.message_max_bytes,
            tenant_max_unfinished=self.settings.tenant_max_unfinished_turns,
        )

    def _handle(self, request: Request, accepted: Accepted) -> dict[str, Any]:
        return {
            "id": accepted.turn_id,
            "tenant": request.tenant,
            "thread_id": request.thread_id,
            "is_new": accepted.is_new,
            "producer": self,
            "priority": request.priority,
            "needs_ring": accepted.is_new and request.not_before is None,
        }

    def _found(self, record: TurnRecord) -> dict[str, Any]:
        return {
            "id": record.id,
            "tenant": record.tenant,
            "thread_id": record.thread_id,
            "is_new": False,
            "producer": self,
        }

    def _requeued(self, found: Requeued) -> dict[str, Any]:
        return {
            "id": found.turn_id,
            "tenant": found.tenant,
            "thread_id": found.thread_id,
            "is_new": found.is_new,
            "producer": self,
        }


#: All that live in this process: a forked child must not use its parent's connections, and its
#: parent's threads are not there.
_producers: WeakSet[Producer] = WeakSet()
#: What a forked child has of its parent's: kept, so that nothing of it is closed from here.
_inherited: list[object] = []


def _open_again() -> None:
    for producer in _producers:
        _inherited.extend((producer.database, producer.bellringer))
        producer._open()  # noqa: SLF001 - it is this module's own class


os.register_at_fork(after_in_child=_open_again)


def _run_sync(lender: Any) -> Callable[..., Awaitable[Accepted]]:
    """The way from an asyncio connection to a sync one. Raises `InvalidInput` for what has none."""
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_scoped_session

    if isinstance(lender, async_scoped_session):
        lender = lender()
    if not isinstance(lender, AsyncConnection | AsyncSession):
        raise InvalidInput(
            "connection",
            f"is {type(lender).__name__}",
            "pass an AsyncConnection or an AsyncSession, or call send_message",
        )
    return lender.run_sync


def _requeue(turn_id: str) -> Callable[["Connection"], Requeued]:
    # Made before the transaction, so that it may run again without asking twice.
    return partial(requeue, turn_id=turn_id, new_turn_id=new_id(), new_message_id=new_id())


def _accept_on(lender: Any, request: Request) -> Accepted:
    # Only for callers who lend: it knows SQLAlchemy's ORM and psycopg, half a second of imports.
    from store.database.caller_connection import borrowed

    with borrowed(lender) as ours:
        return inbox.accept(ours, request)


def _check_priority(priority: object) -> None:
    if isinstance(priority, bool) or not isinstance(priority, int) or not 0 <= priority <= PRIORITY_MAX:
        raise InvalidInput("priority", f"is {priority!r}", f"pass a whole number from 0 to {PRIORITY_MAX}")


def _aware(field: str, value: datetime | None) -> datetime | None:
    if value is None:
        return None
    if not isinstance(value, datetime) or value.utcoffset() is None:
        raise InvalidInput(field, "has no time zone", "pass an aware datetime, as datetime.now(UTC)")
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise InvalidInput(field, "is out of range", "pass a time between the years 1 and 9999") from None
