"""Tool calls of a streamed answer, put together from their pieces.

What stays true: a genuine fragment is never taken for a repetition: pieces that joined are a JSON object
stay joined, also equal ones. Calls come out in the order of their index.

By the format, the index says which call a piece belongs to, id and name come once, and arguments come
in fragments. Servers differ: index 0 for all calls, or none; no id, one for all calls, or a new one with
each piece; names in fragments, or with each piece; arguments whole each time, or all so far.
"""

import itertools
import json
from collections.abc import Collection
from dataclasses import dataclass, field

from agent.models.text_pieces import join_halves
from conversation.ids import new_id
from conversation.message import ToolCall

#: Characters of one call's arguments, at most: more than any model writes in one answer.
ARGUMENTS_MAX_CHARS = 1_000_000
#: Characters of a call's id or name, at most.
NAME_MAX_CHARS = 10_000
#: Tool calls of one answer, at most.
CALLS_MAX = 256


@dataclass(slots=True)
class _Call:
    index: int
    id: str = ""
    name: str = ""
    pieces: list[str] = field(default_factory=list)
    chars: int = 0

    def add_arguments(self, piece: str) -> None:
        if not piece:
            return
        is_full = self.chars + len(piece) > ARGUMENTS_MAX_CHARS
        if is_full and self.pieces and len(piece) > len(self.pieces[-1]) and piece.startswith(self.pieces[-1]):
            # All so far, each time: together these are longer than what they say.
            self.pieces, self.chars = [], 0
        self.pieces.append(piece)
        self.chars += len(piece)

    @property
    def is_too_long(self) -> bool:
        return self.chars > ARGUMENTS_MAX_CHARS or max(len(self.id), len(self.name)) > NAME_MAX_CHARS

    @property
    def is_whole(self) -> bool:
        """Whether the arguments so far are whole, however they came."""
        return bool(self.pieces) and self.pieces[-1].rstrip().endswith("}") and _is_object(join_arguments(self.pieces))

    def is_repeated_by(self, arguments: str) -> bool:
        """Whether these arguments say again what came before."""
        return not arguments or _is_object(join_arguments([*self.pieces, arguments]))


class ToolCallPieces:
    """Merges the pieces of tool calls. `tool_names` are the tools that the request declared."""

    def __init__(self, tool_names: Collection[str] = ()) -> None:
        self._tool_names = frozenset(tool_names)
        self._calls: list[_Call] = []

    def add(self, *, index: int | None, call_id: str | None, name: str | None, arguments: str | None) -> None:
        call_id, name, arguments = call_id or "", name or "", arguments or ""
        call = self._find_call(index, call_id, name, arguments)
        if call is None:
            call = _Call(self._next_index() if index is None else index)
            self._calls.append(call)
        call.id = call.id or call_id
        call.name = self._join_name(call.name, name)
        call.add_arguments(arguments)

    @property
    def excess(self) -> str | None:
        """The excess, in words, where calls are larger than any answer needs; None for most."""
        if len(self._calls) > CALLS_MAX:
            return f"more than {CALLS_MAX} tool calls"
        if any(call.is_too_long for call in self._calls):
            return f"a tool call of more than {ARGUMENTS_MAX_CHARS} characters"
        return None

    def join_calls(self) -> tuple[ToolCall, ...]:
        """The calls so far, in the order of their index; those of one index as they came.

        A call without an id gets one, for its result to refer to.
        """
        return tuple(
            ToolCall(
                join_halves(call.id) or f"call_{new_id()}",
                join_halves(call.name),
                join_halves(join_arguments(call.pieces)),
            )
            for call in sorted(self._calls, key=lambda call: call.index)
        )

    def _find_call(self, index: int | None, call_id: str, name: str, arguments: str) -> _Call | None:
        """The call that a piece goes on with; None where it begins a new one."""
        calls_at_index = [call for call in reversed(self._calls) if index in (None, call.index)]
        calls_of_id = [call for call in (*calls_at_index, *reversed(self._calls)) if call_id and call.id == call_id]
        known_call = calls_of_id[0] if calls_of_id else None
        if known_call is not None and (known_call in calls_at_index or not name):
            return None if self._begins_anew(known_call, name, arguments) else known_call
        call = calls_at_index[0] if calls_at_index else None
        if call is None or self._begins_anew(call, name, arguments):
            return None
        is_other_call = call_id and call.id and self._is_other_call(call, name, arguments)
        return None if is_other_call else call

    def _begins_anew(self, call: _Call, name: str, arguments: str) -> bool:
        """Whether a named piece cannot go on with a call: that one is whole, or of another tool."""
        if not name:
            return False
        if call.is_whole:
            return not call.is_repeated_by(arguments)
        if call.pieces:
            return not (name.startswith(call.name) or call.name.endswith(name))
        return not name.startswith(call.name) and {name, call.name} <= self._tool_names

    def _is_other_call(self, call: _Call, name: str, arguments: str) -> bool:
        """Whether a piece with another id than its call's begins a call, or its server makes up an id a piece."""
        if call.is_whole:
            return bool(name) or not call.is_repeated_by(arguments)
        if not name:
            return False
        if not call.pieces:
            return name != call.name or not arguments
        is_all_so_far = arguments.startswith(call.pieces[-1]) and len(arguments) > len(call.pieces[-1])
        return not arguments or (arguments.lstrip().startswith("{") and not is_all_so_far)

    def _join_name(self, name: str, piece: str) -> str:
        """A name with its next piece: a repetition, all so far, or a fragment."""
        joined_name = name + piece
        if not name or not piece or any(known.startswith(joined_name) for known in self._tool_names):
            return joined_name
        if piece.startswith(name) and (piece in self._tool_names or name not in self._tool_names):
            return piece
        return name if name in self._tool_names else joined_name

    def _next_index(self) -> int:
        return max((call.index for call in self._calls), default=-1) + 1


def join_arguments(pieces: Collection[str]) -> str:
    """The arguments that pieces say: fragments, the whole each time, or all so far each time."""
    texts = [piece for piece in pieces if piece]
    joined_text = "".join(texts)
    if len(texts) < 2 or _is_object(joined_text):
        return joined_text
    first_text, last_text = texts[0], texts[-1]
    earlier_text = "".join(texts[:-1])
    if _is_object(last_text) and (last_text.startswith(earlier_text) or _is_same_json(earlier_text, last_text)):
        return last_text  # fragments, then the whole
    if last_text.lstrip().startswith("{") and all(
        later.startswith(earlier) for earlier, later in itertools.pairwise(texts)
    ):
        return last_text
    if first_text.strip() in ("{}", "null"):  # stands there until the arguments come
        return join_arguments(texts[1:])
    return joined_text


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _is_same_json(text: str, other_text: str) -> bool:
    try:
        return bool(json.loads(text) == json.loads(other_text))
    except (ValueError, RecursionError):
        return False
