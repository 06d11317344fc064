"""A step: one model or tool call of a turn, as the journal remembers it.

What stays true: a step that has its result is never done again. Resume replays steps by their index.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

from conversation.message import Message, Usage

#: The parts of a model's reply that its message has, too.
MESSAGE_PARTS = frozenset(("content", "tool_calls", "reasoning", "provider_fields"))
#: The finish reason of a reply that was cut at its token limit.
CUT_AT_LIMIT = "length"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One entry of a turn's journal."""

    #: From 0, in the order in which the loop asks.
    index: int
    #: `input` is a message that was told to the turn while it ran: the model reads it with its next call.
    kind: Literal["model", "tool", "input"]
    #: The model's id of a tool call, or a message's id; "" for a model call.
    call_id: str = ""
    #: The tool's or the model's name; the turn that a message was sent with.
    name: str = ""
    #: `waiting`: a call that has not begun, and may not before somebody decides; or one that stopped to ask.
    #: `started`: the intent is written. The others are final: `failed` where a tool returned an error,
    #: `unknown` where it is not known whether it took effect. None of those is done again, except
    #: an idempotent call that its turn's end left unknown, without a result. A model call is `started`
    #: where attempts at it were paid and came to no reply: it is asked again, and their usage stays on it.
    state: Literal["waiting", "started", "finished", "failed", "unknown"]
    #: A digest of what was asked, so that a replay under changed code is noticed.
    request_digest: str = ""
    #: JSON: a model's reply, a tool's result or a message; None while it is started, or where its turn ended first. Of
    #: the reply that ended its turn, what its message does not say.
    result: dict[str, Any] | None = None
    usage: Usage | None = None
    #: In US dollars; None where no price is known.
    cost: float | None = None
    #: The index of the tool call that this one belongs to: the call of an agent by another. None of the turn's own.
    parent: int | None = None
    #: The agent whose call it is, where another one called it; None of the turn's own.
    agent: str | None = None
    #: Seconds that the call took until this state, by the clock of its worker: the store keeps when it began.
    seconds: float = field(default=0.0, compare=False)

    @property
    def is_final(self) -> bool:
        return self.state not in ("waiting", "started")

    @property
    def is_in_message(self) -> bool:
        """Whether it is the reply that ended its turn: stored with its message, it does not repeat what that says."""
        return self.kind == "model" and self.result is not None and not self.result.keys() & MESSAGE_PARTS

    @property
    def is_truncated(self) -> bool:
        """Whether it is a model's reply that was cut at its token limit."""
        return self.kind == "model" and (self.result or {}).get("finish_reason") == CUT_AT_LIMIT


def input_step(index: int, message: Message) -> Step:
    """The entry of a message that a turn was told while it ran."""
    assert message.turn_id is not None
    return Step(
        index=index, kind="input", call_id=message.id, name=message.turn_id, state="finished", result=message.to_json()
    )


def message_of(step: Step) -> Message:
    """The message of such an entry."""
    return Message.from_json(step.result or {})
