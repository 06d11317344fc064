"""A producer: stores a user's message with its turn, and notifies the workers.

What stays true: when `send` returns, the message and its turn are committed (or stand in the
caller's own transaction); attachments are stored before any row points to them; every refusal
comes before the first write.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import wait
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar, Unpack

from conversation.branch_address import checked_address_of
from conversation.errors import DatabaseUnavailable
from conversation.events import ThreadEvent
from conversation.ids import new_id
from conversation.parts import Content
from conversation.thread import Thread
from conversation.turn import TurnRecord
from conversation.validation import check_tenant
from producers.connections import Connections
from producers.producer_parts import ProducerParts
from producers.send_options import SendKeywords, SendOptions
from producers.send_request import build_request, limits_of
from producers.turn import AsyncTurn, Turn, TurnHandle
from producers.webhook_owner import WebhookOwner
from store.files.ingest import FileIngest
from store.settings import Settings, current
from store.threads import repository
from store.turns import inbox, records
from store.turns.bulk_requeue import BulkRequeuedTurn, RequeueFilter, requeue_all
from store.turns.requeue import RequeueOutcome, requeue
from store.turns.send_request import AcceptedTurn, SendRequest
from store.turns.thread_turns import TurnPage, list_of_thread

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from producers.caller_transaction import AsyncCallerConnection
    from store.database.caller_connection import CallerConnection

AnyTurn = TypeVar("AnyTurn", bound=TurnHandle)
#: An event of a user's thread, with the cursor behind it.
UserEvent = tuple[str, ThreadEvent]
UserEvents = AsyncIterator[UserEvent]
#: Seconds that `warm_up` waits for the broker, at most: a name to look up can take any time.
WARM_UP_SECONDS = 5.0


def _do_nothing(_: "Connection") -> None:
    """The work of a transaction that only has its connection opened."""


class Producer(ProducerParts, WebhookOwner):
    """One installation, as a sender of messages sees it."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or current()
        self.connections = Connections(self.settings)

    def warm_up(self) -> None:
        """Connect to the database and the broker; see `producers.warm_up`."""
        attempt = self.connections.notifier.warm_up()
        with suppress(DatabaseUnavailable):
            self.database.run(_do_nothing)
        wait({attempt}, timeout=WARM_UP_SECONDS)

    async def warm_up_async(self) -> None:
        """As `warm_up`, on the event loop."""
        attempt = self.connections.notifier.warm_up()
        with suppress(DatabaseUnavailable):
            await self.database.run_async(_do_nothing)
        await asyncio.wait({asyncio.wrap_future(attempt)}, timeout=WARM_UP_SECONDS)

    def send(
        self,
        thread_id: str,
        content: Content,
        *,
        connection: "CallerConnection | None" = None,
        **options: Unpack[SendKeywords],
    ) -> Turn:
        """Store a message and the turn that answers it; see `producers.send_message`."""
        request = self._prepare_request(thread_id, content, SendOptions(**options))
        if connection is not None:
            from producers.caller_transaction import accept_on

            return self._handle_of_new(Turn, request, accept_on(connection, request, limits_of(self.settings)))
        accepted_turn = inbox.accept_alone(self.database, request, limits_of(self.settings))
        turn = self._handle_of_new(Turn, request, accepted_turn)
        if turn.needs_notify:
            turn.notify()
        return turn

    async def send_async(
        self,
        thread_id: str,
        content: Content,
        *,
        connection: "AsyncCallerConnection | None" = None,
        **options: Unpack[SendKeywords],
    ) -> AsyncTurn:
        """As `send`, on the event loop; `connection` is an `AsyncConnection` or an `AsyncSession`."""
        request = await self._prepare_request_async(thread_id, content, SendOptions(**options))
        if connection is not None:
            from producers.caller_transaction import accept_on_async

            accepted_turn = await accept_on_async(connection, request, limits_of(self.settings))
            return self._handle_of_new(AsyncTurn, request, accepted_turn)
        accepted_turn = await inbox.accept_alone_async(self.database, request, limits_of(self.settings))
        turn = self._handle_of_new(AsyncTurn, request, accepted_turn)
        if turn.needs_notify:
            await turn.notify()
        return turn

    def find_turn(self, turn_id: str, *, tenant: str | None = "default") -> Turn:
        """The handle of a turn that was sent before; see `producers.find_turn`."""
        return self._handle_of_stored(Turn, self.database.acting_for(tenant).run(records.read, turn_id, tenant=tenant))

    async def find_turn_async(self, turn_id: str, *, tenant: str | None = "default") -> AsyncTurn:
        """As `find_turn`, on the event loop."""
        runner = self.database.acting_for(tenant)
        return self._handle_of_stored(AsyncTurn, await runner.run_async(records.read, turn_id=turn_id, tenant=tenant))

    def list_turns(
        self, thread_id: str, *, tenant: str = "default", limit: int = 50, cursor: str | None = None
    ) -> TurnPage:
        """The turns of a thread, the newest first; see `producers.list_turns`."""
        return self.database.acting_for(tenant).run(list_of_thread, tenant, thread_id, limit=limit, cursor=cursor)

    async def list_turns_async(
        self, thread_id: str, *, tenant: str = "default", limit: int = 50, cursor: str | None = None
    ) -> TurnPage:
        """As `list_turns`, on the event loop."""
        runner = self.database.acting_for(tenant)
        return await runner.run_async(list_of_thread, tenant, thread_id, limit=limit, cursor=cursor)

    def read_thread(
        self, thread_id: str, *, branch: str | None = None, tenant: str = "default", last: int | None = 50
    ) -> Thread:
        """A thread as it is shown to its users; see `producers.read_thread`."""
        of_thread = check_tenant(tenant), checked_address_of(thread_id, branch)
        return self.database.acting_for(tenant).run(repository.load, *of_thread, last=last)

    async def read_thread_async(
        self, thread_id: str, *, branch: str | None = None, tenant: str = "default", last: int | None = 50
    ) -> Thread:
        """As `read_thread`, on the event loop."""
        of_thread = check_tenant(tenant), checked_address_of(thread_id, branch)
        return await self.database.acting_for(tenant).run_async(repository.load, *of_thread, last=last)

    def thread_events(
        self, thread_id: str, *, branch: str | None = None, tenant: str = "default", after: int = 0
    ) -> Iterator[ThreadEvent]:
        """The events of a thread, as they happen; see `producers.thread_events`."""
        follow = self.thread_events_async
        return self.connections.sync_loop.iterate(follow, thread_id, branch=branch, tenant=tenant, after=after)

    def thread_events_async(
        self, thread_id: str, *, branch: str | None = None, tenant: str = "default", after: int = 0
    ) -> AsyncIterator[ThreadEvent]:
        """As `thread_events`, on the event loop."""
        return self.connections.events.follow_thread(tenant, checked_address_of(thread_id, branch), after=after)

    def user_events(self, user: str, *, tenant: str = "default", cursor: str | None = None) -> Iterator[UserEvent]:
        """The events of all threads of a user, as they happen; see `producers.user_events`."""
        return self.connections.sync_loop.iterate(self.user_events_async, user, tenant=tenant, cursor=cursor)

    def user_events_async(self, user: str, *, tenant: str = "default", cursor: str | None = None) -> UserEvents:
        """As `user_events`, on the event loop."""
        return self.connections.events.follow_user(tenant, user, cursor=cursor)

    def requeue(self, turn_id: str, *, agent: str | None = None, tenant: str | None = "default") -> Turn:
        """Queue a turn again; see `producers.requeue_turn`."""
        # The ids are made before the transaction, so that it may run again without asking twice.
        ids = {"new_turn_id": new_id(), "new_message_id": new_id()}
        outcome = self.database.acting_for(tenant).run(requeue, turn_id, **ids, agent=agent, tenant=tenant)
        turn = self._handle_of_requeued(Turn, outcome)
        turn.notify()
        return turn

    async def requeue_async(
        self, turn_id: str, *, agent: str | None = None, tenant: str | None = "default"
    ) -> AsyncTurn:
        """As `requeue`, on the event loop."""
        ids = {"new_turn_id": new_id(), "new_message_id": new_id()}
        outcome = await self.database.acting_for(tenant).run_async(requeue, turn_id, **ids, agent=agent, tenant=tenant)
        turn = self._handle_of_requeued(AsyncTurn, outcome)
        await turn.notify()
        return turn

    def requeue_turns(
        self, filters: RequeueFilter, *, by: str | None = None, limit: int | None = None, dry_run: bool = False
    ) -> Iterator[BulkRequeuedTurn]:
        """Queue many turns again, each when it is asked for; see `producers.requeue_turns`."""
        return requeue_all(self.database.acting_for(filters.tenant), filters, agent=by, limit=limit, is_dry_run=dry_run)

    def close(self) -> None:
        """Let wake-ups on their way end, and close the connections of sync callers."""
        self.connections.close()

    async def close_async(self) -> None:
        """As `close`, with the running event loop's connections too."""
        await self.connections.close_async()

    def _prepare_request(self, thread_id: str, content: Content, options: SendOptions) -> SendRequest:
        """Prepare the transaction: check the request, then store its blobs."""
        self.connections.notifier.warm_up()
        request = build_request(thread_id, content, options, self.settings)
        if request.attachments:
            FileIngest(self.database, self.blobs).store(request.tenant, request.attachments)
        return request

    async def _prepare_request_async(self, thread_id: str, content: Content, options: SendOptions) -> SendRequest:
        if options.attachments is not None:
            # Files are read, hashed and stored: too long for an event loop.
            return await asyncio.to_thread(self._prepare_request, thread_id, content, options)
        return self._prepare_request(thread_id, content, options)

    def _handle_of_new(self, kind: type[AnyTurn], request: SendRequest, accepted_turn: AcceptedTurn) -> AnyTurn:
        return kind(
            id=accepted_turn.turn_id,
            tenant=request.tenant,
            address=accepted_turn.address,
            is_new=accepted_turn.is_new,
            connections=self.connections,
            priority=request.priority,
            needs_notify=accepted_turn.needs_wake_up,
            interrupts=accepted_turn.interrupts,
            sent_at=time.monotonic() if accepted_turn.is_new else float("-inf"),
        )

    def _handle_of_stored(self, kind: type[AnyTurn], record: TurnRecord) -> AnyTurn:
        return kind(
            id=record.id, tenant=record.tenant, address=record.address, is_new=False, connections=self.connections
        )

    def _handle_of_requeued(self, kind: type[AnyTurn], outcome: RequeueOutcome) -> AnyTurn:
        return kind(
            id=outcome.turn_id,
            tenant=outcome.tenant,
            address=outcome.address,
            is_new=outcome.is_new,
            connections=self.connections,
        )
