"""The result of a library call."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from conversation.message import Message, Usage
from conversation.pending_call import PendingCall
from conversation.thread import Thread


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentResult:
    """The result of one turn of an agent."""

    #: The caller's thread, with the new messages in it.
    thread: Thread
    #: What the agent added: tool calls, their results, the answer.
    new_messages: list[Message]
    usage: Usage
    #: In US dollars; None where a price is missing.
    cost: float | None
    turn_id: str
    #: What was left out of the window because the model takes no more; see `TurnRecord`.
    omitted: Mapping[str, Any] | None = None
    #: The agent that the thread was handed over to in this turn; None where it was not.
    handed_over_to: str | None = None
    #: What the turn waits for: it has no answer yet. `Agent.resume` goes on with it.
    pending: tuple[PendingCall, ...] = ()

    @property
    def is_waiting(self) -> bool:
        """Whether the turn waits for decisions, and has no answer yet."""
        return bool(self.pending)

    @property
    def content(self) -> str:
        """The text of the answer."""
        return next((m.content for m in reversed(self.new_messages) if m.role == "assistant"), "")

    @property
    def is_truncated(self) -> bool:
        """Whether the answer was cut at the model's token limit."""
        return next((m.state == "truncated" for m in reversed(self.new_messages) if m.role == "assistant"), False)
