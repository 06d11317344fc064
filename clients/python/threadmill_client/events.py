"""The events of a thread: what a viewer may see of its turns, in one order.

What stays true: numbers rise over a thread's whole life, and notices have none. Deltas are a preview, `MessageDone`
has the whole. An event of a kind that this version does not know is an `UnknownEvent`: pass over it.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar

from threadmill_client.decoding import Model, read_model
from threadmill_client.models import Message, PendingCall, ToolCall, TurnError, Usage


@dataclass(frozen=True, kw_only=True)
class Event(Model):
    """An event: the fields of all kinds."""

    kind: ClassVar[str] = ""
    thread_id: str = ""
    #: None where it belongs to no turn.
    turn_id: str | None = None
    #: Its place in the thread; None for a notice, which is sent anew to each viewer that comes.
    number: int | None = None
    #: Where a stream goes on behind it: pass it as `after`.
    cursor: str = field(default="", compare=False)


@dataclass(frozen=True, kw_only=True)
class TurnQueued(Event):
    """A notice: the turn waits."""

    kind: ClassVar[str] = "turn.queued"
    #: Turns of the thread that come before it.
    position: int = 0
    #: When it is due, or tried again, if not now.
    due_at: datetime | None = None
    #: What its newest attempt failed of.
    error: TurnError | None = None


@dataclass(frozen=True, kw_only=True)
class TurnWaiting(Event):
    """A notice: the turn waits for decisions, and holds no worker meanwhile."""

    kind: ClassVar[str] = "turn.waiting"
    #: What is still to be decided, in the order of asking.
    calls: tuple[PendingCall, ...] = ()


@dataclass(frozen=True, kw_only=True)
class TurnDecided(Event):
    """A notice: a call of a turn that waits was decided, and others are not yet."""

    kind: ClassVar[str] = "turn.decided"
    call: PendingCall


@dataclass(frozen=True, kw_only=True)
class TurnStarted(Event):
    """A worker runs the turn. From the second attempt on, drop a message that is not done."""

    kind: ClassVar[str] = "turn.started"
    attempt: int = 1
    agent: str = ""


@dataclass(frozen=True, kw_only=True)
class MessageDelta(Event):
    """A piece of a message that is being written: append it to what came of the message so far."""

    kind: ClassVar[str] = "message.delta"
    message_id: str = ""
    text: str = ""


@dataclass(frozen=True, kw_only=True)
class MessageRestarted(Event):
    """The model begins the message anew: drop what came of it so far."""

    kind: ClassVar[str] = "message.restarted"
    message_id: str = ""


@dataclass(frozen=True, kw_only=True)
class MessageDone(Event):
    """A whole message: what a user said, a reply of the agent, or a tool's result."""

    kind: ClassVar[str] = "message.done"
    message: Message


@dataclass(frozen=True, kw_only=True)
class ToolStarted(Event):
    """A tool call of a reply begins; the tool message that answers it is its end."""

    kind: ClassVar[str] = "tool.started"
    message_id: str = ""
    call: ToolCall


@dataclass(frozen=True, kw_only=True)
class AgentStep(Model):
    """A model or tool call of an agent that another one called as a tool."""

    #: Its place in the turn's journal, and that of the tool call that it belongs to.
    index: int = 0
    parent: int = 0
    agent: str = ""
    #: `model` or `tool`, and the name of the model or the tool.
    kind: str = ""
    name: str = ""
    #: `started`, `finished`, `failed` or `unknown`.
    state: str = ""


@dataclass(frozen=True, kw_only=True)
class AgentSteps(Event):
    """A notice: what the agents do that a running turn's agent called as tools."""

    kind: ClassVar[str] = "turn.agents"
    #: The newest of them.
    steps: tuple[AgentStep, ...] = ()


@dataclass(frozen=True, kw_only=True)
class TurnEnded(Event):
    """The turn is over. Without a number where it was cancelled before any worker began it."""

    kind: ClassVar[str] = "turn.ended"
    #: `completed`, `failed` or `cancelled`; `merged` of one that another turn answers with its own.
    state: str = ""
    error: TurnError | None = None
    usage: Usage | None = None
    #: In US dollars; None where no price is known.
    cost: float | None = None
    #: The turn that answers its message with its own.
    merged_into: str | None = None
    #: What it asked and said is out of view.
    rolled_back: bool = False


@dataclass(frozen=True, kw_only=True)
class ThreadSwitched(Event):
    """The thread's id stands for another branch from here on.

    Drop what was shown behind `shared_to_seq`, and read the messages anew.
    """

    kind: ClassVar[str] = "thread.switched"
    #: The id of the branch that was chosen.
    branch: str = ""
    #: The `seq` up to which it shares the history of another branch; 0 for the thread's first one.
    shared_to_seq: int = 0


@dataclass(frozen=True, kw_only=True)
class ThreadDeleted(Event):
    """A notice: the thread is not stored any more. Nothing of it follows."""

    kind: ClassVar[str] = "thread.deleted"


@dataclass(frozen=True, kw_only=True)
class UnknownEvent(Event):
    """An event of a kind that a newer gateway has: `type`, and all of it in `raw`."""

    type: str = ""


_KINDS: dict[str, type[Event]] = {
    each.kind: each
    for each in (
        *(TurnQueued, TurnWaiting, TurnDecided, TurnStarted, MessageDelta, MessageRestarted),
        *(MessageDone, ToolStarted, AgentSteps, TurnEnded, ThreadSwitched, ThreadDeleted),
    )
}


def read_event(value: Any, *, cursor: str = "") -> Event:
    """Read an event out of its JSON. Raises `UnexpectedAnswer`."""
    fields = value if isinstance(value, dict) else {}
    number = fields.get("id")
    return read_model(
        _KINDS.get(fields.get("type", ""), UnknownEvent),
        value,
        number=number if isinstance(number, int) else None,
        cursor=cursor,
    )
