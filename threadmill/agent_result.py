"""The result of a library call."""

from dataclasses import dataclass

from conversation.message import Message, Usage
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

    @property
    def content(self) -> str:
        """The text of the answer."""
        return next((m.content for m in reversed(self.new_messages) if m.role == "assistant"), "")
