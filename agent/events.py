"""The events of a running agent, for its observers. None of them is needed to resume a turn."""

from dataclasses import dataclass

from agent.models.protocol import StreamRestarted, TextDelta
from conversation.message import Message, ToolCall
from conversation.turn import TurnResult


@dataclass(frozen=True, slots=True)
class ReplyBegun:
    """A model is asked, perhaps once more with less: no text of this reply has come yet."""

    #: The id that the reply's message will have.
    message_id: str
    #: The index of its step in the turn's journal.
    step_index: int


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
class TurnFinished:
    """The turn is over and committed."""

    result: TurnResult


@dataclass(frozen=True, slots=True)
class AgentEvent:
    """An event of an agent that another one called as a tool."""

    agent: str
    #: The indexes of the tool calls that it is nested in, from the turn's own one inwards.
    path: tuple[int, ...]
    event: "ReplyBegun | TextDelta | StreamRestarted | ToolStarted | ToolFinished | MessageAdded"


Event = ReplyBegun | TextDelta | StreamRestarted | ToolStarted | ToolFinished | MessageAdded | TurnFinished | AgentEvent
