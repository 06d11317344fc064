"""The inbox: a user's message is stored with the turn that it asks for, in one transaction.

What stays true: accepting takes no lock that a worker needs, so a caller's long transaction holds
up nobody; and no refusal is found by breaking a constraint, so the caller's transaction lives on.
"""

import hashlib
import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Insert, Select, exists, func, literal, select, true

from conversation.attachment import Attachment
from conversation.errors import DatabaseUnavailable, IdempotencyConflict, LimitReached, UnknownAgent
from conversation.message import Message
from store.database.column_types import clock
from store.database.statements import insert_as_source, insert_for
from store.files.attachments import insert_attachments
from store.files.blob_rows import check_stored
from store.history.message_rows import shared_columns
from store.tables import agents, inbox_messages, messages, threads, turns
from store.tables.turns import unfinished
from store.threads.repository import ensure_thread

#: Attempts to insert a turn. A second one is needed where another transaction commits between two statements.
ACCEPT_ATTEMPTS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class SendRequest:
    """A producer's request for a turn: validated, its attachments stored, its ids made."""

    turn_id: str
    tenant: str
    thread_id: str
    #: One message of a user, without a seq in the history yet; None asks for an answer to the
    #: history as it stands.
    message: Message | None
    agent: str
    #: Accept an agent that no worker has registered yet.
    allow_unknown_agent: bool = False
    idempotency_key: str | None = None
    priority: int = 0
    not_before: datetime | None = None
    deadline: datetime | None = None
    #: The library process that alone may run the turn; None lets any worker.
    local_process_id: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def attachments(self) -> list[Attachment]:
        return self.message.attachments if self.message else []

    def digest(self) -> str:
        """The hash of every field that must be equal for an idempotency key to mean the same request."""
        message = self.message
        digest_fields = {
            "thread": self.thread_id,
            "agent": self.agent,
            "role": message.role if message else None,
            "content": message.content if message else None,
            "metadata": self.metadata,
            "attachments": [[file.filename, file.sha256] for file in self.attachments],
            "priority": self.priority,
            "not_before": self.not_before.isoformat() if self.not_before else None,
            "deadline": self.deadline.isoformat() if self.deadline else None,
        }
        return hashlib.sha256(json.dumps(digest_fields, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class SendLimits:
    """The limits within which a request is accepted; 0 means no limit."""

    #: Bytes of a message's attachments together.
    message_max_bytes: int = 0
    #: Unfinished turns of a tenant, the requested one included.
    tenant_max_unfinished_turns: int = 0


#: The limits of a process that sends for itself alone.
UNLIMITED = SendLimits()


@dataclass(frozen=True, slots=True)
class AcceptedTurn:
    """The turn that answers a request: a new one, or the one that its idempotency key already has."""

    turn_id: str
    is_new: bool


def accept(
    connection: Connection, request: SendRequest, limits: SendLimits = UNLIMITED, *, mark_notified: bool = True
) -> AcceptedTurn:
    """Store a message with its turn, or find the turn that the same request led to before.

    `mark_notified` says that the caller notifies a worker right after its commit: the sweep waits a while
    before it does so itself.

    Raises `UnknownAgent`, `IdempotencyConflict`, `LimitReached`, `FileNotStored`, `FileRejected`,
    `InvalidInput` and `DatabaseUnavailable`, and leaves the caller's transaction usable.
    """
    if request.attachments:
        check_stored(connection, request.tenant, request.attachments, max_bytes=limits.message_max_bytes)
    for _ in range(ACCEPT_ATTEMPTS):
        ensure_thread(connection, request.tenant, request.thread_id, agent=request.agent)
        thread_key = _insert_turn_with_input(connection, request, limits, mark_notified=mark_notified)
        if thread_key is not None:
            if request.message is not None and request.attachments:
                insert_attachments(connection, thread_key, request.tenant, [request.message])
            return AcceptedTurn(request.turn_id, is_new=True)
        earlier_turn = _find_earlier_turn_or_refuse(connection, request, limits)
        if earlier_turn is not None:
            return earlier_turn
        # What was in the way is gone, or the thread is: another transaction committed between two statements.
    raise DatabaseUnavailable(f"thread {request.thread_id!r} changes too fast; send the message again")


def has_message(connection: Connection, thread_key: int, message_id: str, *, except_turn_id: str) -> bool:
    """Whether the history has a message of this id, or the inbox for a turn other than `except_turn_id`."""
    in_history = exists().where(messages.c.thread_key == thread_key, messages.c.id == message_id)
    in_inbox = exists().where(
        turns.c.id == inbox_messages.c.turn_id,
        turns.c.thread_key == thread_key,
        turns.c.id != except_turn_id,
        inbox_messages.c.id == message_id,
    )
    return bool(connection.execute(select(in_history | in_inbox)).scalar_one())


def discard(connection: Connection, turn_id: str) -> None:
    """Take a turn's input out of the inbox: its caller keeps the message in another way."""
    connection.execute(inbox_messages.delete().where(inbox_messages.c.turn_id == turn_id))


def _insert_turn_with_input(
    connection: Connection, request: SendRequest, limits: SendLimits, *, mark_notified: bool
) -> int | None:
    """Insert a turn with its message; the key of its thread, or None if nothing may be inserted."""
    insert_turn = _insert_turn(connection, request, limits, mark_notified=mark_notified)
    if request.message is None:
        return connection.execute(insert_turn.returning(turns.c.thread_key)).scalar_one_or_none()
    new_turn = insert_as_source(connection, insert_turn, turns, "id", request.turn_id)
    columns = shared_columns(request.message)
    statement = inbox_messages.insert().from_select(
        ["turn_id", "index", *columns],
        select(
            new_turn.c.id, literal(0), *(literal(value, inbox_messages.c[name].type) for name, value in columns.items())
        ),
    )
    thread_key = select(threads.c.key).where(_is_thread_of(request)).scalar_subquery()
    return connection.execute(statement.returning(thread_key)).scalar_one_or_none()


def _insert_turn(connection: Connection, request: SendRequest, limits: SendLimits, *, mark_notified: bool) -> Insert:
    values = {
        "id": request.turn_id,
        "tenant": request.tenant,
        "state": "queued",
        "agent": request.agent,
        "local_process_id": request.local_process_id,
        "priority": request.priority,
        "metadata": request.metadata,
        "not_before": request.not_before,
        "deadline": request.deadline,
        "idempotency_key": request.idempotency_key,
        "request_digest": request.digest(),
    }
    times = {"created_at": clock()}
    if mark_notified and request.not_before is None:
        times["notified_at"] = clock()
    source = select(
        threads.c.key, *(literal(value, turns.c[name].type) for name, value in values.items()), *times.values()
    ).where(_is_thread_of(request), _is_agent_known(request), _is_within_limit(request.tenant, limits))
    statement = insert_for(connection, turns).from_select(["thread_key", *values, *times], source)
    # On either conflict: its idempotency key, or its own row if the answer to its commit was lost.
    insert_or_skip: Insert = statement.on_conflict_do_nothing()
    return insert_or_skip


def _find_earlier_turn_or_refuse(
    connection: Connection, request: SendRequest, limits: SendLimits
) -> AcceptedTurn | None:
    """The turn that the same request led to before; None if nothing is in the way of a new one.

    Raises `IdempotencyConflict`, `LimitReached` and `UnknownAgent`.
    """
    row = connection.execute(_select_obstacles(request, limits)).one()
    if row.turn_id is not None and row.request_digest == request.digest():
        return AcceptedTurn(row.turn_id, is_new=row.turn_id == request.turn_id)
    if row.turn_id is not None:
        raise IdempotencyConflict(
            f"idempotency_key: {request.idempotency_key!r} was used with another request; send this one under a new key"
        )
    if not row.is_within_limit:
        raise LimitReached(
            f"tenant: {request.tenant!r} has {limits.tenant_max_unfinished_turns} unfinished turns, "
            "as many as THREADMILL_TENANT_MAX_UNFINISHED_TURNS allows; send again when some have ended"
        )
    if not row.is_agent_known:
        raise UnknownAgent(
            f"agent: no worker has ever registered {request.agent!r} (known: {_list_agents(connection)}); "
            "start a worker that serves it, or pass allow_unknown_agent=True"
        )
    return None


def _select_obstacles(request: SendRequest, limits: SendLimits) -> Select[Any]:
    """Select the earlier turn of a request, and whether its limit and its agent would let a new one in."""
    earlier_turn = turns.alias("earlier_turn")
    is_same_request = earlier_turn.c.id == request.turn_id
    if request.idempotency_key is not None:
        is_same_request |= (earlier_turn.c.tenant == request.tenant) & (
            earlier_turn.c.idempotency_key == request.idempotency_key
        )
    one_row = select(literal(1)).subquery("one_row")
    return select(
        earlier_turn.c.id.label("turn_id"),
        earlier_turn.c.request_digest,
        _is_within_limit(request.tenant, limits).label("is_within_limit"),
        _is_agent_known(request).label("is_agent_known"),
    ).select_from(one_row.outerjoin(earlier_turn, is_same_request))


def _is_thread_of(request: SendRequest) -> ColumnElement[bool]:
    return (threads.c.tenant == request.tenant) & (threads.c.id == request.thread_id)


def _is_agent_known(request: SendRequest) -> ColumnElement[bool]:
    return true() if request.allow_unknown_agent else exists().where(agents.c.name == request.agent)


def _is_within_limit(tenant: str, limits: SendLimits) -> ColumnElement[bool]:
    """Whether the tenant may have one more unfinished turn. No condition where no limit is set."""
    limit = limits.tenant_max_unfinished_turns
    if not limit:
        return true()
    of_tenant = select(literal(1)).where(turns.c.tenant == tenant, unfinished)
    # Counted up to the limit only: a tenant far above it costs no more than one that is just there.
    counted_turns = of_tenant.limit(limit).subquery()
    return select(func.count()).select_from(counted_turns).scalar_subquery() < limit


def _list_agents(connection: Connection) -> str:
    names = connection.execute(select(agents.c.name).order_by(agents.c.name).limit(20)).scalars().all()
    return ", ".join(names) or "none"
