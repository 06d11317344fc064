"""A request for a turn, as a producer hands it to the store, and its answer."""

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from conversation.attachment import Attachment
from conversation.canonical_json import canonical_json
from conversation.message import Message
from conversation.when_busy import WhenBusy


@dataclass(frozen=True, slots=True)
class ParentCall:
    """The call of a turn that begins another turn, and waits for its end."""

    turn_id: str
    call_id: str
    #: How deep the new turn is nested.
    depth: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SendRequest:
    """A producer's request for a turn: validated, its attachments stored, its ids made."""

    turn_id: str
    tenant: str
    #: The id of a thread, for its chosen branch, or the address of one of its branches.
    thread_id: str
    #: One message of a user, without a seq in the history yet; None asks for an answer to the
    #: history as it stands.
    message: Message | None
    agent: str
    #: The sender named no agent: the one that the thread was handed over to answers, if it was.
    is_agent_default: bool = False
    #: Accept an agent that no worker has registered yet.
    allow_unknown_agent: bool = False
    idempotency_key: str | None = None
    priority: int = 0
    not_before: datetime | None = None
    deadline: datetime | None = None
    #: The library process that alone may run the turn; None lets any worker.
    local_process_id: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    #: The user who asks: the thread's owner from now on, if it has none. None: its owner asks, if it has one.
    user: str | None = None
    #: Of a turn that another one waits for; plain statements alone store it.
    parent: ParentCall | None = None
    #: What becomes of it while its thread is busy; None takes the thread's own policy, then its agent's.
    when_busy: WhenBusy | None = None
    #: The installation's policy, for a message for which nobody else has one.
    default_when_busy: WhenBusy | None = None
    #: Seconds that a message to be merged waits for more, from when it is sent.
    merge_window_seconds: float = 0
    #: The schedule that sends it. The digest leaves it out: its idempotency key says it.
    schedule_id: str | None = None

    @property
    def attachments(self) -> list[Attachment]:
        return self.message.attachments if self.message else []

    def digest(self) -> str | None:
        """The hash of every field that must be equal for an idempotency key to mean the same request.

        None without a key. `store/functions/send_message_v1.sql` makes the same of the same fields.
        """
        if self.idempotency_key is None:
            return None
        message = self.message
        digest_fields = {
            "thread": self.thread_id,
            "agent": self.agent,
            "role": message.role if message else None,
            "content": message.content if message else None,
            "parts": [part.to_json() for part in message.parts] if message else [],
            "metadata": self.metadata,
            "user": self.user,
            "when_busy": self.when_busy,
            "attachments": [[file.filename, file.sha256] for file in self.attachments],
            "priority": self.priority,
            "not_before": _moment(self.not_before),
            "deadline": _moment(self.deadline),
        }
        return hashlib.sha256(canonical_json(digest_fields).encode()).hexdigest()


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
    #: The branch that it went to: the id of its row, by which a worker claims it.
    address: str
    is_new: bool
    #: The key of its thread, where this request inserted the turn.
    thread_key: int | None = None
    #: A worker is to be notified after the commit: the turn is new, for now, and its thread has no wake-up on the way.
    needs_wake_up: bool = False
    #: The turn that it interrupts, where that runs: its worker is to hear of it after the commit.
    interrupts: str | None = None


def _moment(value: datetime | None) -> str | None:
    return value.astimezone(UTC).isoformat(timespec="microseconds") if value else None
