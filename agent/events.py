"""What happens while an agent runs, for whoever watches. Nothing here is needed to resume a turn."""

from dataclasses import dataclass

from agent.models.protocol import Restarted, TextDelta
from conversation.message import Message, ToolCall
from conversation.turn import TurnResult


@dataclass(frozen=True, slots=True)
class ToolStarted:
    """The model asked for a tool, and the call is in the journal."""

    call: ToolCall


@dataclass(frozen=True, slots=True)
class ToolFinished:
    """A tool gave its result, as JSON text."""

    call: ToolCall
    content: str


@dataclass(frozen=True, slots=True)
class MessageAdded:
    """A whole message of the agent: it is stored when the turn is committed."""

    message: Message


@dataclass(frozen=True, slots=True)
class Finished:
    """The turn is over and committed."""

    result: TurnResult


Event = TextDelta | Restarted | ToolStarted | ToolFinished | MessageAdded | Finished
