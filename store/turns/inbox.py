"""The inbox: a user's message is stored with the turn that it asks for, in one transaction.

What stays true: accepting takes no lock that a worker needs, so a caller's long transaction holds
up nobody; and no refusal is found by breaking a constraint, so the caller's transaction lives on.
"""

import hashlib
import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Insert, exists, false, func, literal, select, true

from conversation.attachment import Attachment
from conversation.errors import IdempotencyConflict, LimitReached, UnknownAgent
from conversation.message import Message
from store.database.column_types import clock
from store.database.statements import insert_as_source, insert_for
from store.files.attachments import insert_attachments
from store.files.blob_rows import check_stored
from store.history.message_rows import shared_columns
from store.tables import agents, inbox_messages, messages, threads, turns
from store.tables.turns import unfinished
from store.threads.repository import ensure_thread


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
    #: The caller notifies right after its commit: the sweep waits a while before it notifies again.
    notifies: bool = True
    #: Bytes of its attachments together, at most; 0 means any number.
    message_max_bytes: int = 0
    #: Unfinished turns that its tenant may have with this one; 0 means any number.
    tenant_max_unfinished: int = 0

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


@dataclass(frozen=True, slots=True)
class AcceptedTurn:
    """The turn that answers a request: a new one, or the one that its idempotency key already has."""

    turn_id: str
    is_new: bool


def accept(connection: Connection, request: SendRequest) -> AcceptedTurn:
    """Store a message with its turn.

    Raises `UnknownAgent`, `IdempotencyConflict`, `LimitReached`, `FileNotStored` and `FileRejected`,
    and leaves the caller's transaction usable.
    """
    if request.attachments:
        check_stored(connection, request.tenant, request.attachments, max_bytes=request.message_max_bytes)
    ensure_thread(connection, request.tenant, request.thread_id)
    row = _insert_turn_with_input(connection, request)
    if row is None:
        return _explain_missing_insert(connection, request)
    if request.message is not None and request.message.attachments:
        insert_attachments(connection, row.thread_key, request.tenant, [request.message])
    return AcceptedTurn(request.turn_id, is_new=True)


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


def _insert_turn_with_input(connection: Connection, request: SendRequest) -> Any:
    if request.message is None:
        return connection.execute(
            _insert_turn(connection, request).returning(turns.c.thread_key)
        ).one_or_none()
    new_turn = insert_as_source(connection, _insert_turn(connection, request), turns, "id", request.turn_id)
    columns = shared_columns(request.message)
    statement = inbox_messages.insert().from_select(
        ["turn_id", "index", *columns],
        select(
            new_turn.c.id,
            literal(0),
            *(literal(value, inbox_messages.c[name].type) for name, value in columns.items()),
        ),
    )
    key = select(threads.c.key).where(threads.c.tenant == request.tenant, threads.c.id == request.thread_id)
    return connection.execute(
        statement.returning(inbox_messages.c.turn_id, key.scalar_subquery().label("thread_key"))
    ).one_or_none()


def _insert_turn(connection: Connection, request: SendRequest) -> Insert:
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
    if request.notifies and request.not_before is None:
        times["notified_at"] = clock()
    is_agent_known = true() if request.allow_unknown_agent else exists().where(agents.c.name == request.agent)
    is_allowed = is_agent_known & is_within_unfinished_limit(request)
    source = select(
        threads.c.key,
        *(literal(value, turns.c[name].type) for name, value in values.items()),
        *times.values(),
    ).where(threads.c.tenant == request.tenant, threads.c.id == request.thread_id, is_allowed)
    statement = insert_for(connection, turns).from_select(["thread_key", *values, *times], source)
    # On either conflict: its idempotency key, or its own row if the answer to its commit was lost.
    insert_or_skip: Insert = statement.on_conflict_do_nothing()
    return insert_or_skip


def is_within_unfinished_limit(request: SendRequest) -> ColumnElement[bool]:
    """Whether the tenant may have one more unfinished turn. No condition where no limit is set."""
    if not request.tenant_max_unfinished:
        return true()
    of_tenant = select(literal(1)).where(turns.c.tenant == request.tenant, unfinished)
    # Counted up to the limit only: a tenant far above it costs no more than one that is just there.
    counted_turns = of_tenant.limit(request.tenant_max_unfinished).subquery()
    return select(func.count()).select_from(counted_turns).scalar_subquery() < request.tenant_max_unfinished


def _explain_missing_insert(connection: Connection, request: SendRequest) -> AcceptedTurn:
    """The earlier turn of this request, where nothing was inserted. Raises the reason where there is none."""
    of_key = (turns.c.tenant == request.tenant) & (turns.c.idempotency_key == request.idempotency_key)
    has_key = true() if request.idempotency_key is not None else false()
    earlier_turn = connection.execute(
        select(turns.c.id, turns.c.request_digest).where((turns.c.id == request.turn_id) | (has_key & of_key))
    ).one_or_none()
    if earlier_turn is not None and earlier_turn.request_digest == request.digest():
        return AcceptedTurn(earlier_turn.id, is_new=earlier_turn.id == request.turn_id)
    if earlier_turn is not None:
        raise IdempotencyConflict(
            f"idempotency_key: {request.idempotency_key!r} was used with another request; "
            "send this one under a new key"
        )
    if not connection.execute(select(is_within_unfinished_limit(request))).scalar_one():
        raise LimitReached(
            f"tenant: {request.tenant!r} has {request.tenant_max_unfinished} unfinished turns, as many as "
            "THREADMILL_TENANT_MAX_UNFINISHED_TURNS allows; send again when some have ended"
        )
    of_thread = (threads.c.tenant == request.tenant) & (threads.c.id == request.thread_id)
    if not connection.execute(select(exists().where(of_thread))).scalar_one():
        # The thread was deleted between two statements of ours: accept makes it anew.
        return accept(connection, request)
    agent_names = connection.execute(select(agents.c.name).order_by(agents.c.name).limit(20)).scalars().all()
    raise UnknownAgent(
        f"agent: no worker has ever registered {request.agent!r} "
        f"(known: {', '.join(agent_names) or 'none'}); "
        "start a worker that serves it, or pass allow_unknown_agent=True"
    )
