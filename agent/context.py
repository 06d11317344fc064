"""What a tool may know about the call it serves. Made for one call, handed to it, and kept nowhere."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContext:
    """A tool's function asks for it by annotating a parameter `RunContext`; the model never sees it."""

    tenant: str
    thread_id: str
    turn_id: str
    #: The model's id of this call. Some models number their calls anew in each reply.
    call_id: str
    #: One call, one key, however often it is tried: hand it to the service that the tool calls.
    idempotency_key: str = ""
    #: Who the conversation is with, in the caller's own words; None where nobody said.
    user: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    #: From 1; more than that means an earlier attempt at the turn broke off.
    attempt: int = 1
    #: Aware: the turn's end, past which no tool is waited for.
    deadline: datetime | None = None
