"""The inbox: a user's message is stored with the turn that it asks for, in one transaction.

What stays true: accepting takes no lock that a worker needs, so a caller's long transaction holds
up nobody; and no refusal is found by breaking a constraint, so the caller's transaction lives on.
"""

import hashlib
import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Insert, exists, literal, select, true

from conversation.errors import IdempotencyConflict, UnknownAgent
from conversation.message import Message
from store.columns import clock
from store.statements import insert_for, inserted
from store.tables import agents, attachments, blobs, threads, turn_inputs, turns


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a producer asks for: checked, its attachments stored, its ids made."""

    turn_id: str
    tenant: str
    thread_id: str
    #: One message of a user, without a place in the history yet.
    message: Message
    agent: str
    #: Accept an agent that no worker has registered yet.
    allow_unknown_agent: bool = False
    idempotency_key: str | None = None
    priority: int = 0
    not_before: datetime | None = None
    deadline: datetime | None = None
    #: The library process that alone may run it; None lets any worker.
    runner: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    #: The caller rings right after its commit: the sweep waits a while before it rings again.
    rings: bool = True

    def digest(self) -> str:
        """What must be the same for an idempotency key to mean the same request."""
        said = {
            "thread": self.thread_id,
            "agent": self.agent,
            "role": self.message.role,
            "content": self.message.content,
            "metadata": self.message.metadata,
            "attachments": [[file.filename, file.sha256] for file in self.message.attachments],
            "priority": self.priority,
            "not_before": self.not_before.isoformat() if self.not_before else None,
            "deadline": self.deadline.isoformat() if self.deadline else None,
        }
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Accepted:
    """The turn that answers a request: a new one, or the one that its idempotency key already has."""

    turn_id: str
    is_new: bool


def accept(connection: Connection, request: Request) -> Accepted:
    """Store a message with its turn. Raises `UnknownAgent` and `IdempotencyConflict`, breaking nothing."""
    _ensure_thread(connection, request)
    row = _insert_turn_with_input(connection, request)
    if row is None:
        return _explain(connection, request)
    if request.message.attachments:
        _insert_attachments(connection, row.thread_key, request)
    return Accepted(request.turn_id, is_new=True)


def _ensure_thread(connection: Connection, request: Request) -> None:
    statement = insert_for(connection, threads).values(
        tenant=request.tenant,
        id=request.thread_id,
        metadata={},
        created_at=clock(),
        updated_at=clock(),
    )
    connection.execute(statement.on_conflict_do_nothing(index_elements=["tenant", "id"]))


def _insert_turn_with_input(connection: Connection, request: Request) -> Any:
    new_turn = inserted(connection, _turn(connection, request), turns, "id", request.turn_id)
    said = _said(request.message)
    statement = turn_inputs.insert().from_select(
        ["turn_id", "index", *said],
        select(
            new_turn.c.id,
            literal(0),
            *(literal(value, turn_inputs.c[name].type) for name, value in said.items()),
        ),
    )
    key = select(threads.c.key).where(threads.c.tenant == request.tenant, threads.c.id == request.thread_id)
    return connection.execute(
        statement.returning(turn_inputs.c.turn_id, key.scalar_subquery().label("thread_key"))
    ).one_or_none()


def _turn(connection: Connection, request: Request) -> Insert:
    values = {
        "id": request.turn_id,
        "tenant": request.tenant,
        "state": "queued",
        "agent": request.agent,
        "runner": request.runner,
        "priority": request.priority,
        "metadata": request.metadata,
        "not_before": request.not_before,
        "deadline": request.deadline,
        "idempotency_key": request.idempotency_key,
        "request_digest": request.digest(),
    }
    times = {"created_at": clock()}
    if request.rings and request.not_before is None:
        times["rung_at"] = clock()
    known = true() if request.allow_unknown_agent else exists().where(agents.c.name == request.agent)
    source = select(
        threads.c.key,
        *(literal(value, turns.c[name].type) for name, value in values.items()),
        *times.values(),
    ).where(threads.c.tenant == request.tenant, threads.c.id == request.thread_id, known)
    statement = insert_for(connection, turns).from_select(["thread_key", *values, *times], source)
    conflict: Insert = statement.on_conflict_do_nothing(
        index_elements=["tenant", "idempotency_key"], index_where=turns.c.idempotency_key.is_not(None)
    )
    return conflict


def _said(message: Message) -> dict[str, Any]:
    return {
        "id": message.id,
        "role": message.role,
        "content": message.content,
        "parts": [part.to_json() for part in message.parts] or None,
        "name": message.name,
        "metadata": message.metadata,
        "source": message.source,
        "has_attachments": bool(message.attachments),
        "created_at": message.created_at,
    }


def _insert_attachments(connection: Connection, thread_key: int, request: Request) -> None:
    files = {file.sha256: file for file in request.message.attachments}
    stored = insert_for(connection, blobs).values(
        [
            {
                "tenant": request.tenant,
                "sha256": sha256,
                "size": files[sha256].size,
                "media_type": files[sha256].mime_type,
                "created_at": clock(),
            }
            for sha256 in sorted(files, key=str)
        ]
    )
    connection.execute(stored.on_conflict_do_nothing(index_elements=["tenant", "sha256"]))
    connection.execute(
        attachments.insert().values(
            [
                {
                    "thread_key": thread_key,
                    "message_id": request.message.id,
                    "index": index,
                    "filename": file.filename,
                    "tenant": request.tenant,
                    "sha256": file.sha256,
                }
                for index, file in enumerate(request.message.attachments)
            ]
        )
    )


def _explain(connection: Connection, request: Request) -> Accepted:
    """Nothing was inserted: the key was used before, or the agent is unknown."""
    if request.idempotency_key is not None:
        earlier = connection.execute(
            select(turns.c.id, turns.c.request_digest).where(
                turns.c.tenant == request.tenant, turns.c.idempotency_key == request.idempotency_key
            )
        ).one_or_none()
        if earlier is not None and earlier.request_digest == request.digest():
            return Accepted(earlier.id, is_new=False)
        if earlier is not None:
            raise IdempotencyConflict(
                f"idempotency_key: {request.idempotency_key!r} was used with another request; "
                "send this one under a new key"
            )
    known = connection.execute(select(agents.c.name).order_by(agents.c.name).limit(20)).scalars().all()
    raise UnknownAgent(
        f"agent: no worker has ever registered {request.agent!r} (known: {', '.join(known) or 'none'}); "
        "start a worker that serves it, or pass allow_unknown_agent=True"
    )
