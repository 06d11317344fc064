"""The options of a message besides its text: keywords of the public functions, one value below them.

What stays true: the two say the same. Whoever adds an option adds it to both, and to what
`producers.send_request` makes of them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypedDict

from conversation.when_busy import WhenBusy
from producers.attachments import Attachable


@dataclass(frozen=True, slots=True, kw_only=True)
class SendOptions:
    """The options of a message besides its text."""

    #: Files: `Attachment` values or paths. Stored before the message is.
    attachments: Iterable[Attachable] | None = None
    #: The agent that shall answer; without it, the one that the thread was handed over to, or else the setting
    #: THREADMILL_DEFAULT_AGENT.
    agent: str | None = None
    #: The same key with the same request gives the first turn again; with another request, an error.
    idempotency_key: str | None = None
    #: JSON that is stored with the message; tools see it as their context's metadata.
    metadata: Mapping[str, Any] | None = None
    #: The user who asks, by your own id of them: the thread's owner from now on, if it has none. Tools have both.
    #: Without it, `user` in the metadata names them.
    user: str | None = None
    #: The tenant of the thread: thread ids of two tenants never meet.
    tenant: str = "default"
    #: 0 to 9, higher is sooner; it orders threads, never the messages of one.
    priority: int = 0
    #: Aware; the message joins its thread's order then.
    not_before: datetime | None = None
    #: Aware; a turn that has not ended by then fails, with what it had said.
    deadline: datetime | None = None
    #: `user` or `system`.
    role: str = "user"
    #: Accept an agent that no worker has registered yet: its turn waits for one.
    allow_unknown_agent: bool = False
    #: What becomes of it while its thread has an unfinished turn: `enqueue`, `reject`, `interrupt`, `rollback`, `merge`
    #: or `steer`. Without it, the thread's own policy, then the agent's, then the setting THREADMILL_WHEN_BUSY.
    when_busy: WhenBusy | str | None = None
    #: Seconds, 60 at most, that a message to be merged waits for more, counted from the first of them.
    merge_window: float = 0
    #: The branch of the thread; without it, the one that is chosen.
    branch: str | None = None


class SendKeywords(TypedDict, total=False):
    """The fields of `SendOptions`, for type checkers: the keyword arguments of what sends a message."""

    attachments: Iterable[Attachable] | None
    agent: str | None
    idempotency_key: str | None
    metadata: Mapping[str, Any] | None
    user: str | None
    tenant: str
    priority: int
    not_before: datetime | None
    deadline: datetime | None
    role: str
    allow_unknown_agent: bool
    when_busy: WhenBusy | str | None
    merge_window: float
    branch: str | None


class AnswerKeywords(TypedDict, total=False):
    """The fields of `SendOptions` for a turn without a message of its own."""

    agent: str | None
    idempotency_key: str | None
    metadata: Mapping[str, Any] | None
    user: str | None
    tenant: str
    priority: int
    not_before: datetime | None
    deadline: datetime | None
    allow_unknown_agent: bool
    branch: str | None
