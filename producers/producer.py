"""A producer: stores a user's message with its turn, and notifies the workers.

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
from producers.attachments import Attachable, examine_attachments
from producers.notifier import Notifier
from producers.turn import AsyncTurn, Turn
from store.blobs import BlobStore, open_file_store
from store.database.engine import Database
from store.files.ingest import FileIngest
from store.settings import Settings, current
from store.turns import inbox, records
from store.turns.inbox import AcceptedTurn, SendRequest
from store.turns.requeue import RequeueOutcome, requeue

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from store.live.signals import Signals
    from producers.uploads import Uploads
    from store.database.caller_connection import CallerConnection

#: The roles that a producer may send: the others are the agent's own messages.
SENDERS = ("user", "system")


class Producer:
    """One installation, as a sender of messages sees it."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or current()
        self._open()
        _producers.add(self)

    def _open(self) -> None:
        """Take up everything that does not survive a fork. Nothing is connected or started yet."""
        self.database = Database(self.settings)
        self.notifier = Notifier(self.settings)

    @cached_property
    def signals(self) -> "Signals":
        """Signals to and from waiters. The broker's client is imported only to wait or to cancel."""
        from store.live.signals import Signals

        return Signals(self.settings)

    @cached_property
    def blobs(self) -> BlobStore:
        """The store of attachments. Opened with the first one: an S3 client takes a while to import."""
        return open_file_store(self.settings)

    @property
    def uploads(self) -> "Uploads":
        """Files that clients put into the store, and fetch from it, by themselves."""
        from producers.uploads import Uploads

        return Uploads(self.database, self.blobs, self.settings)

    def send(
        self, thread_id: str, content: str, *, connection: "CallerConnection | None" = None, **options: Any
    ) -> Turn:
        """Store a message and the turn that answers it; see `producers.send_message`."""
        request = self._prepare_request(thread_id, content, notifies=connection is None, **options)
        if connection is not None:
            accepted_turn = _accept_on(connection, request)
        else:
            accepted_turn = self.database.run(inbox.accept, request=request)
        turn = Turn(**self._new_turn_fields(request, accepted_turn))
        if connection is None and turn.needs_notify:
            turn.notify()
        return turn

    async def send_async(
        self, thread_id: str, content: str, *, connection: Any = None, **options: Any
    ) -> AsyncTurn:
        """As `send`, on the event loop; `connection` is an `AsyncConnection` or an `AsyncSession`."""
        prepare = partial(self._prepare_request, thread_id, content, notifies=connection is None, **options)
        # Files are read, hashed and stored: too long for an event loop.
        request = await asyncio.to_thread(prepare) if options.get("attachments") else prepare()
        if connection is not None:
            accepted_turn = await _get_run_sync(connection)(partial(_accept_on, request=request))
        else:
            accepted_turn = await self.database.run_async(inbox.accept, request=request)
        turn = AsyncTurn(**self._new_turn_fields(request, accepted_turn))
        if connection is None and turn.needs_notify:
            await turn.notify()
        return turn

    def find_turn(self, turn_id: str) -> Turn:
        """The handle of a turn that was sent before. Raises `TurnNotFound`."""
        return Turn(**self._stored_turn_fields(self.database.run(records.read, turn_id=turn_id)))

    async def find_turn_async(self, turn_id: str) -> AsyncTurn:
        """As `turn`, on the event loop."""
        return AsyncTurn(
            **self._stored_turn_fields(await self.database.run_async(records.read, turn_id=turn_id))
        )

    def requeue(self, turn_id: str) -> Turn:
        """Queue a turn again; see `producers.requeue_turn`."""
        turn = Turn(**self._requeued_turn_fields(self.database.run(_build_requeue(turn_id))))
        turn.notify()
        return turn

    async def requeue_async(self, turn_id: str) -> AsyncTurn:
        """As `requeue`, on the event loop."""
        turn = AsyncTurn(**self._requeued_turn_fields(await self.database.run_async(_build_requeue(turn_id))))
        await turn.notify()
        return turn

    def close(self) -> None:
        """Let wake-ups on their way end, and close the connections of sync callers."""
        self.notifier.close()
        self.database.close()

    async def close_async(self) -> None:
        """As `close`, with the running event loop's connections too."""
        await self.database.close_async()
        await asyncio.to_thread(self.close)

    def _prepare_request(
        self, thread_id: str, content: str, *, notifies: bool, **options: Any
    ) -> SendRequest:
        """Prepare the transaction: check the request, then store its blobs."""
        self.notifier.warm_up()
        request = self._build_request(thread_id, content, notifies=notifies, **options)
        if request.attachments:
            FileIngest(self.database, self.blobs).store(request.tenant, request.attachments)
        return request

    def _build_request(
        self,
        thread_id: str,
        content: str,
        *,
        notifies: bool,
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
    ) -> SendRequest:
        if role not in SENDERS:
            raise InvalidInput("role", f"is {role!r}", f"use one of {', '.join(SENDERS)}")
        _check_priority(priority)
        files = examine_attachments(attachments, self.settings)
        if not files and not (isinstance(content, str) and content.strip()):
            check_text("content", content)
            raise InvalidInput("content", "is empty", "pass some text, or attach a file")
        checked_metadata = check_metadata("metadata", metadata)
        message = Message(role=role, content=content, attachments=files, metadata=checked_metadata)  # type: ignore[arg-type]
        return SendRequest(
            turn_id=new_id(),
            tenant=check_tenant_of_user(tenant),
            thread_id=check_id("thread_id", thread_id),
            message=message,
            agent=check_id("agent", agent if agent is not None else self.settings.default_agent),
            allow_unknown_agent=allow_unknown_agent,
            idempotency_key=None if idempotency_key is None else check_id("idempotency_key", idempotency_key),
            priority=priority,
            not_before=_to_utc("not_before", not_before),
            deadline=_to_utc("deadline", deadline),
            metadata=checked_metadata,
            notifies=notifies,
            message_max_bytes=self.settings.message_max_bytes,
            tenant_max_unfinished=self.settings.tenant_max_unfinished_turns,
        )

    def _new_turn_fields(self, request: SendRequest, accepted_turn: AcceptedTurn) -> dict[str, Any]:
        return {
            "id": accepted_turn.turn_id,
            "tenant": request.tenant,
            "thread_id": request.thread_id,
            "is_new": accepted_turn.is_new,
            "producer": self,
            "priority": request.priority,
            "needs_notify": accepted_turn.is_new and request.not_before is None,
        }

    def _stored_turn_fields(self, record: TurnRecord) -> dict[str, Any]:
        return {
            "id": record.id,
            "tenant": record.tenant,
            "thread_id": record.thread_id,
            "is_new": False,
            "producer": self,
        }

    def _requeued_turn_fields(self, outcome: RequeueOutcome) -> dict[str, Any]:
        return {
            "id": outcome.turn_id,
            "tenant": outcome.tenant,
            "thread_id": outcome.thread_id,
            "is_new": outcome.is_new,
            "producer": self,
        }


#: All that live in this process: a forked child must not use its parent's connections, and its
#: parent's threads are not there.
_producers: WeakSet[Producer] = WeakSet()
#: Connections of the parent in a forked child: referenced, so that the child does not close them.
_inherited_objects: list[object] = []


def _reopen_after_fork() -> None:
    for producer in _producers:
        _inherited_objects.extend((producer.database, producer.notifier))
        producer._open()  # noqa: SLF001 - it is this module's own class


os.register_at_fork(after_in_child=_reopen_after_fork)


def _get_run_sync(connection: Any) -> Callable[..., Awaitable[AcceptedTurn]]:
    """The `run_sync` of an asyncio connection or session. Raises `InvalidInput` for anything else."""
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_scoped_session

    if isinstance(connection, async_scoped_session):
        connection = connection()
    if not isinstance(connection, AsyncConnection | AsyncSession):
        raise InvalidInput(
            "connection",
            f"is {type(connection).__name__}",
            "pass an AsyncConnection or an AsyncSession, or call send_message",
        )
    return connection.run_sync


def _build_requeue(turn_id: str) -> Callable[["Connection"], RequeueOutcome]:
    # Made before the transaction, so that it may run again without asking twice.
    return partial(requeue, turn_id=turn_id, new_turn_id=new_id(), new_message_id=new_id())


def _accept_on(connection: Any, request: SendRequest) -> AcceptedTurn:
    # Only for callers who pass a connection: it knows SQLAlchemy's ORM and psycopg, half a second of imports.
    from store.database.caller_connection import borrow_connection

    with borrow_connection(connection) as core_connection:
        return inbox.accept(core_connection, request)


def _check_priority(priority: object) -> None:
    if isinstance(priority, bool) or not isinstance(priority, int) or not 0 <= priority <= PRIORITY_MAX:
        raise InvalidInput("priority", f"is {priority!r}", f"pass a whole number from 0 to {PRIORITY_MAX}")


def _to_utc(field: str, value: datetime | None) -> datetime | None:
    if value is None:
        return None
    if not isinstance(value, datetime) or value.utcoffset() is None:
        raise InvalidInput(field, "has no time zone", "pass an aware datetime, as datetime.now(UTC)")
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise InvalidInput(field, "is out of range", "pass a time between the years 1 and 9999") from None
