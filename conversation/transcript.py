"""The transcript of a run: its messages so far, and how to close them at any moment.

What stays true: whatever is taken from here is well-formed: each tool call of an assistant is
followed by exactly one tool message, whenever the run ended.
"""

import json
from dataclasses import dataclass, field

from conversation.message import Message, ToolCall, Usage

#: What the model reads, in a later turn, of a call that the end of its turn interrupted.
INTERRUPTED_CALL = json.dumps(
    {"error": {"type": "CutOff", "message": "the turn ended before this call had a result; it may have taken effect"}}
)
#: What the model reads of a call in a reply that was cut at its token limit: it is not run.
CUT_CALL = json.dumps(
    {
        "error": {
            "type": "CutAtTokenLimit",
            "message": "your reply was cut at its token limit, so this call was not run and had no effect; "
            "call again with less in one reply",
        }
    }
)


def reply_id(turn_id: str, step_index: int) -> str:
    """The id of a model's reply: the same, whoever replays the turn's journal after a crash."""
    return f"{turn_id}-{step_index}"


def result_id(reply: str, position: int) -> str:
    """The id of the result of a reply's tool call, counted from 1, for the id of the reply."""
    return f"{reply}.{position}"


def place_of(turn_id: str, message_id: str) -> tuple[int, int] | None:
    """The step index and position in the id of a reply (position 0) or of a result; None in one that is neither."""
    if not message_id.startswith(f"{turn_id}-"):
        return None
    index, _, position = message_id[len(turn_id) + 1 :].partition(".")
    is_number = all(part.isascii() and part.isdigit() and len(part) < 7 for part in (index, position or "0"))
    return (int(index), int(position or 0)) if is_number else None


@dataclass(slots=True)
class Transcript:
    """The new messages of one run, in order. An open block is an assistant's tools at work."""

    messages: list[Message] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)
    #: In US dollars; None once a price was missing.
    cost: float | None = 0.0
    #: Those of earlier attempts included, and those that came to no reply.
    model_calls: int = 0
    #: Text of the answer that is just being written, and the id that it will have.
    partial_text: str = ""
    partial_id: str = ""
    #: The agent that the run handed its thread over to last; None of most.
    hands_over_to: str | None = None
    _handed_over_at: int = -1
    #: The id of the open block's assistant message.
    _open_id: str = ""
    _open_calls: tuple[ToolCall, ...] = ()
    #: What the model reads of an open call that gets no result.
    _no_result: str = INTERRUPTED_CALL
    _results: dict[str, Message] = field(default_factory=dict)

    def spend(self, usage: Usage | None, cost: float | None) -> None:
        """Count one model call."""
        self.model_calls += 1
        self.usage += usage or Usage()
        self.cost = None if self.cost is None or cost is None else self.cost + cost

    def open_block(self, assistant: Message) -> None:
        """Open a block with an assistant message that asks for tools."""
        self.partial_text = ""
        self.messages.append(assistant)
        self._open_id = assistant.id
        self._open_calls = assistant.tool_calls
        self._no_result = CUT_CALL if assistant.state == "truncated" else INTERRUPTED_CALL
        self._results = {}

    def add_result(self, message: Message) -> None:
        """Add the tool message of one call of the open block."""
        assert message.tool_call_id is not None
        self._results[message.tool_call_id] = message

    def note_hand_over(self, index: int, agent: str) -> None:
        """Note that the call of this index hands the thread over: of several, the last one's agent has it."""
        if index > self._handed_over_at:
            self._handed_over_at, self.hands_over_to = index, agent

    def close_block(self) -> list[Message]:
        """End the open block, in the order of its calls; one without a result was interrupted, or cut and never run."""
        tool_messages = [
            self._results.get(call.id)
            or Message(
                id=result_id(self._open_id, position),
                role="tool",
                tool_call_id=call.id,
                name=call.name,
                content=self._no_result,
            )
            for position, call in enumerate(self._open_calls, start=1)
        ]
        self.messages.extend(tool_messages)
        self._open_calls = ()
        return tool_messages

    def close(self, *, source: dict[str, object] | None = None) -> tuple[Message, ...]:
        """Close the transcript: all messages, well-formed; unfinished text stands last and is marked so."""
        self.close_block()
        if self.partial_text:
            self.messages.append(
                Message(id=self.partial_id, role="assistant", content=self.partial_text, state="partial", source=source)
            )
            self.partial_text = ""
        return tuple(self.messages)
