"""What a run has said so far, and how to close it at any moment.

What stays true: whatever is taken from here is well-formed: each tool call of an assistant is
followed by exactly one tool message, whenever the run ended.
"""

from dataclasses import dataclass, field

from agent.tools.result import failure
from conversation.message import Message, ToolCall, Usage

#: What the model reads, in a later turn, of a call that this turn's end cut off.
CUT_OFF = failure("CutOff", "the turn ended before this call had a result; it may have taken effect").content


@dataclass(slots=True)
class Transcript:
    """The new messages of one run, in order. An open block is an assistant's tools at work."""

    messages: list[Message] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)
    #: In US dollars; None once a price was missing.
    cost: float | None = 0.0
    #: Text of the answer that is just being written.
    partial_text: str = ""
    _open_calls: tuple[ToolCall, ...] = ()
    _results: dict[str, Message] = field(default_factory=dict)

    def spend(self, usage: Usage | None, cost: float | None) -> None:
        """Count one model call."""
        self.usage += usage or Usage()
        self.cost = None if self.cost is None or cost is None else self.cost + cost

    def open_block(self, assistant: Message) -> None:
        """The assistant asked for tools."""
        self.partial_text = ""
        self.messages.append(assistant)
        self._open_calls = assistant.tool_calls
        self._results = {}

    def result(self, message: Message) -> None:
        """One tool of the open block answered."""
        assert message.tool_call_id is not None
        self._results[message.tool_call_id] = message

    def close_block(self) -> list[Message]:
        """End the open block, in the order of its calls; a call without a result is told as cut off."""
        closing = [
            self._results.get(call.id)
            or Message(role="tool", tool_call_id=call.id, name=call.name, content=CUT_OFF)
            for call in self._open_calls
        ]
        self.messages.extend(closing)
        self._open_calls = ()
        return closing

    def closed(self, *, source: dict[str, object] | None = None) -> tuple[Message, ...]:
        """Everything said, well-formed; text that was not finished stands last and is marked so."""
        self.close_block()
        if self.partial_text:
            self.messages.append(
                Message(role="assistant", content=self.partial_text, state="partial", source=source)
            )
            self.partial_text = ""
        return tuple(self.messages)
