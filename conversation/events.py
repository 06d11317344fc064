"""The events of a thread: what a viewer may see of its turns, in one order.

What stays true: an event that is kept has a number, which comes from its place and from no counter: the fencing
token of the claim, the step of the journal, the position in the step. So numbers rise over a thread's whole life,
are the same when they are read from rows again, and stay below 2**53, which JavaScript can count to. What has no
place yet, as a turn that waits, is a notice without a number. Deltas are a preview: `MessageDone` has the whole.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any, ClassVar

from conversation.message import Message, ToolCall, Usage
from conversation.pending_call import PendingCall
from conversation.turn import TurnError, TurnState

#: Bits of a number, from the lowest: the position in a slot, the slot, and whether it comes after the turn.
POSITION_BITS, SLOT_BITS = 13, 12
_AFTER_TURN = 1 << (POSITION_BITS + SLOT_BITS)
_FENCE_BITS = POSITION_BITS + SLOT_BITS + 1
#: The slot of a turn's beginning; step `n` of the journal has slot `n + 1`; the last is that of its end.
START_SLOT, END_SLOT = 0, (1 << SLOT_BITS) - 1
#: The highest index of a step that has a slot.
MAX_STEP_INDEX = END_SLOT - 2
#: Positions in a step's slot: up to here deltas, here the message, then the tool calls that it begins.
DONE_POSITION = 1 << (POSITION_BITS - 1)
MAX_POSITION = (1 << POSITION_BITS) - 1


def number_of(fence: int, slot: int, position: int) -> int:
    """The number of a place within a turn, for the fencing token of its claim."""
    return fence << _FENCE_BITS | slot << POSITION_BITS | position


def number_of_start(fence: int) -> int:
    """The number of the beginning of an attempt."""
    return number_of(fence, START_SLOT, 0)


def number_of_end(fence: int) -> int:
    """The number of a turn's end: above all that was shown of it."""
    return number_of(fence, END_SLOT, MAX_POSITION)


def number_after_turn(fence: int, seq: int) -> int:
    """The number of a message of no turn, at a seq, after the newest turn before it, or after none: 0."""
    return fence << _FENCE_BITS | _AFTER_TURN | min(seq, _AFTER_TURN - 1)


def seq_after_turn(number: int) -> int | None:
    """The seq in the number of a message of no turn; None in that of a place within a turn."""
    return number & (_AFTER_TURN - 1) if number & _AFTER_TURN else None


def fence_of(number: int) -> int:
    """The fencing token in a number."""
    return number >> _FENCE_BITS


def number_of_switch(fence: int) -> int:
    """The number of a switch to another branch, for a fencing token that no claim on either has."""
    return number_of(fence, START_SLOT, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnQueued:
    """A notice: the turn waits. It is sent anew to each viewer that comes."""

    kind: ClassVar[str] = "turn.queued"
    thread_id: str
    turn_id: str
    #: Turns of the thread that come before it.
    position: int = 0
    #: When it is due, or tried again, if not now.
    due_at: datetime | None = None
    #: What its newest attempt failed of.
    error: TurnError | None = None
    number: None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnWaiting:
    """A notice: the turn waits for decisions, and holds nothing. It is sent anew to each viewer that comes."""

    kind: ClassVar[str] = "turn.waiting"
    thread_id: str
    turn_id: str
    #: What is still to be decided, in the order of asking.
    calls: tuple[PendingCall, ...] = ()
    number: None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnDecided:
    """A notice: a call of a turn that waits was decided, and others are not yet."""

    kind: ClassVar[str] = "turn.decided"
    thread_id: str
    turn_id: str
    call: PendingCall
    number: None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnStarted:
    """A worker runs the turn. From the second attempt on, viewers drop a message that is not done."""

    kind: ClassVar[str] = "turn.started"
    thread_id: str
    turn_id: str
    number: int
    attempt: int
    agent: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageDelta:
    """A piece of a message that is being written: append it to what came of the message so far."""

    kind: ClassVar[str] = "message.delta"
    thread_id: str
    turn_id: str
    number: int
    message_id: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageRestarted:
    """The model begins the message anew: drop what came of it so far."""

    kind: ClassVar[str] = "message.restarted"
    thread_id: str
    turn_id: str
    number: int
    message_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageDone:
    """A whole message: what a user said, a reply of the agent, a tool's result, or one that belongs to no turn."""

    kind: ClassVar[str] = "message.done"
    thread_id: str
    turn_id: str | None
    number: int
    #: Without `seq` where it is journalled and not in the history yet.
    message: Message


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCallStarted:
    """A tool call of a reply begins; the tool message that answers it is its end."""

    kind: ClassVar[str] = "tool.started"
    thread_id: str
    turn_id: str
    number: int
    message_id: str
    call: ToolCall


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentStep:
    """A model or tool call of an agent that another one called as a tool; without what was said."""

    #: Its place in the turn's journal, and that of the tool call that it belongs to.
    index: int
    parent: int
    agent: str
    #: `model` or `tool`, and the name of the model or the tool.
    kind: str
    name: str
    #: As `Step.state`.
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSteps:
    """A notice: what the agents do that a running turn's agent called as tools. It is sent anew when that changes."""

    kind: ClassVar[str] = "turn.agents"
    thread_id: str
    turn_id: str
    #: The newest of them, in the order of the journal.
    steps: tuple[AgentStep, ...]
    number: None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnEnded:
    """The turn is over. Without a number where it was cancelled before any worker began it."""

    kind: ClassVar[str] = "turn.ended"
    thread_id: str
    turn_id: str
    number: int | None
    state: TurnState
    error: TurnError | None = None
    usage: Usage | None = None
    #: In US dollars; None where no price is known.
    cost: float | None = None
    #: The turn that answers its message with its own: of one whose state is `merged`, and which never began.
    merged_into: str | None = None
    #: What it asked and said is out of view.
    rolled_back: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadSwitched:
    """The thread's id stands for another branch from here on: drop what was shown behind `shared_to_seq`, read anew.

    Whoever saw events of the branch before gets none of its others.
    """

    kind: ClassVar[str] = "thread.switched"
    thread_id: str
    turn_id: None = None
    number: int
    #: The id of the branch that was chosen.
    branch: str
    #: The seq up to which it shares the history of another branch; 0 for the thread's first one.
    shared_to_seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadDeleted:
    """A notice: the thread is not stored any more. Nothing follows."""

    kind: ClassVar[str] = "thread.deleted"
    thread_id: str
    turn_id: None = None
    number: None = None


ThreadEvent = (
    TurnQueued
    | TurnWaiting
    | TurnDecided
    | TurnStarted
    | MessageDelta
    | MessageRestarted
    | MessageDone
    | ToolCallStarted
    | AgentSteps
    | TurnEnded
    | ThreadSwitched
    | ThreadDeleted
)

#: A notice that a turn is not at work, which is sent anew to each viewer.
WAITING_NOTICES = (TurnQueued, TurnWaiting, TurnDecided, AgentSteps)


def event_json(event: ThreadEvent) -> dict[str, Any]:
    """An event as JSON: `type`, `id` (its number, or null), `thread_id`, `turn_id`, and its own fields."""
    common = {"type": event.kind, "id": event.number, "thread_id": event.thread_id, "turn_id": event.turn_id}
    own_names = [field.name for field in fields(event) if field.name not in ("thread_id", "turn_id", "number")]
    return common | {name: _json_of(getattr(event, name)) for name in own_names}


def message_json(message: Message) -> dict[str, Any]:
    """A message as its viewers see it: without what only its provider wants back."""
    shown = message.to_json()
    del shown["provider_fields"]
    return shown


def error_json(error: TurnError) -> dict[str, Any]:
    """The error of a turn as JSON."""
    return {"kind": error.kind, "message": error.message, "retryable": error.retryable, "fault": error.fault.value}


def pending_json(call: PendingCall) -> dict[str, Any]:
    """A pending call as whoever may decide it sees it; `arguments` are shown as values."""
    decision = call.decision
    return {
        "turn_id": call.turn_id,
        "call_id": call.call_id,
        "kind": call.kind.value,
        "name": call.name,
        "arguments": call.parsed_arguments,
        "digest": call.arguments_digest,
        "question": call.question,
        "choices": None if call.choices is None else list(call.choices),
        "schema": None if call.schema is None else dict(call.schema),
        "requested_at": call.requested_at.isoformat(),
        "expires_at": call.expires_at.isoformat(),
        "decision": None if decision is None else decision.kind.value,
        "reason": None if decision is None else decision.reason,
        "decided_by": call.decided_by,
        "decided_at": None if call.decided_at is None else call.decided_at.isoformat(),
    }


def _json_of(value: object) -> Any:
    if (write := _WRITERS.get(type(value))) is not None:
        return write(value)
    match value:
        case ToolCall() | Usage():
            return value.to_json()
        case tuple():
            return [_json_of(each) for each in value]
        case _:
            return value.isoformat() if isinstance(value, datetime) else value


_WRITERS: dict[type, Callable[[Any], Any]] = {
    Message: message_json,
    TurnError: error_json,
    PendingCall: pending_json,
    AgentStep: asdict,
}
