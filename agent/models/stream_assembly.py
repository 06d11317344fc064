"""A streamed answer, put together from its chunks.

What stays true: pieces of parallel tool calls that arrive interleaved end up in the call that they
belong to, and the calls come out in the order of their index.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from agent.models.provider_fields import FieldPieces
from conversation.ids import new_id
from conversation.message import ToolCall


@dataclass(slots=True)
class _Call:
    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""


class ToolCallPieces:
    """Merges deltas of tool calls.

    By the format, the index says which call a delta belongs to, and id and name come once. Providers
    differ: some send index 0 for every call, with different ids; some repeat id and name with each
    delta; some leave the index out. So a known id wins over the index, and a new id opens a call.
    """

    def __init__(self) -> None:
        self._calls: list[_Call] = []

    def add(self, *, index: int | None, call_id: str | None, name: str | None, arguments: str | None) -> None:
        call = self._find_call(call_id, index) if call_id else self._find_latest_call(index)
        if call is None:
            call = _Call(self._next_index() if index is None else index)
            self._calls.append(call)
        call.id = call.id or call_id or ""
        call.name = call.name or name or ""
        call.arguments += arguments or ""

    def join_calls(self) -> tuple[ToolCall, ...]:
        """The calls so far, in the order of their index; those of one index as they came."""
        return tool_calls((c.id, c.name, c.arguments) for c in sorted(self._calls, key=lambda c: c.index))

    def _find_call(self, call_id: str, index: int | None) -> _Call | None:
        for call in self._calls:
            if call.id == call_id and index in (None, call.index):
                return call
        latest = self._find_latest_call(index)
        return latest if latest is not None and not latest.id else None

    def _find_latest_call(self, index: int | None) -> _Call | None:
        return next((call for call in reversed(self._calls) if index in (None, call.index)), None)

    def _next_index(self) -> int:
        return max((call.index for call in self._calls), default=-1) + 1


class ReplyPieces:
    """One streamed answer. Chunks are those of the chat-completions format, as objects."""

    def __init__(self) -> None:
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._calls = ToolCallPieces()
        #: What the provider sends beside the text and wants back.
        self.fields = FieldPieces()
        self.finish_reason: str | None = None
        #: The chunk that carries the provider's count of tokens, if one came.
        self.usage_chunk: Any = None

    def add(self, chunk: Any) -> str:
        """Take one chunk. Returns the text that it adds, perhaps none."""
        if getattr(chunk, "usage", None) is not None:
            self.usage_chunk = chunk
        if not chunk.choices:
            return ""
        choice = chunk.choices[0]
        self.finish_reason = choice.finish_reason or self.finish_reason
        return self._add_delta(choice.delta)

    @property
    def content(self) -> str:
        return "".join(self._text)

    @property
    def reasoning(self) -> str | None:
        return "".join(self._reasoning) or None

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        return self._calls.join_calls()

    def _add_delta(self, delta: Any) -> str:
        text: str = getattr(delta, "content", None) or ""
        self._text.append(text)
        self.fields.add(delta)
        self._reasoning.append(getattr(delta, "reasoning_content", None) or "")
        for piece in getattr(delta, "tool_calls", None) or ():
            self._calls.add(
                index=piece.index,
                call_id=piece.id,
                name=piece.function.name if piece.function else None,
                arguments=piece.function.arguments if piece.function else None,
            )
        return text


def tool_calls(parts: Iterable[tuple[str | None, str | None, str | None]]) -> tuple[ToolCall, ...]:
    """Tool calls from (id, name, arguments). A call without an id gets one, for its result to refer to."""
    return tuple(
        ToolCall(call_id or f"call_{new_id()}", name or "", arguments or "") for call_id, name, arguments in parts
    )
