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


@dataclass(slots=True)
class Transcript:
    """The new messages of one run, in order. An open block is an assistant's tools at work."""

    messages: list[Message] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)
    #: In US dollars; None once a price was missing.
    cost: float | None = 0.0
    #: Those of earlier attempts included, and those that came to no reply.
    model_calls: int = 0
    #: Text of the answer that is just being written.
    partial_text: str = ""
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
        self._open_calls = assistant.tool_calls
        self._no_result = CUT_CALL if assistant.state == "truncated" else INTERRUPTED_CALL
        self._results = {}

    def add_result(self, message: Message) -> None:
        """Add the tool message of one call of the open block."""
        assert message.tool_call_id is not None
        self._results[message.tool_call_id] = message

    def close_block(self) -> list[Message]:
        """End the open block, in the order of its calls; one without a result was interrupted, or cut and never run."""
        tool_messages = [
            self._results.get(call.id)
            or Message(role="tool", tool_call_id=call.id, name=call.name, content=self._no_result)
            for call in self._open_calls
        ]
        self.messages.extend(tool_messages)
        self._open_calls = ()
        return tool_messages

    def close(self, *, source: dict[str, object] | None = None) -> tuple[Message, ...]:
        """Close the transcript: all messages, well-formed; unfinished text stands last and is marked so."""
        self.close_block()
        if self.partial_text:
            self.messages.append(Message(role="assistant", content=self.partial_text, state="partial", source=source))
            self.partial_text = ""
        return tuple(self.messages)
