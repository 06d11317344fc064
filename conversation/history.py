"""What a well-formed history is: each tool call of an assistant is followed by exactly one tool message."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from conversation.errors import InvalidInput
from conversation.message import Message

#: What stands for a result that a foreign history does not have.
NO_RESULT = '{"error": {"type": "NoResult", "message": "no result of this call is known"}}'


def open_calls(history: Sequence[Message]) -> dict[str, str]:
    """The calls of the last block that have no result yet: id → tool."""
    answered: set[str] = set()
    for message in reversed(history):
        if message.role == "tool" and message.tool_call_id is not None:
            answered.add(message.tool_call_id)
        elif message.role == "assistant":
            return {call.id: call.name for call in message.tool_calls if call.id not in answered}
        elif message.role == "user":
            return {}
    return {}


def check_next(history: Sequence[Message], message: Message) -> None:
    """Whether `message` may stand after `history`. Raises `InvalidInput`."""
    waiting = open_calls(history)
    if message.role == "tool" and message.tool_call_id not in waiting:
        raise InvalidInput(
            "tool_call_id",
            f"{message.tool_call_id!r} answers no open call",
            "add the assistant message with that call before, and one tool message for each call",
        )
    if message.role != "tool" and waiting:
        raise InvalidInput(
            "role",
            f"a {message.role} message cannot stand before the results of {', '.join(waiting)}",
            "add a tool message for each open call first",
        )


@dataclass(frozen=True, slots=True)
class Repairs:
    """A foreign history made well-formed, and what that took."""

    messages: list[Message]
    #: One sentence each, in order; () where it was well-formed.
    changes: tuple[str, ...]


def repaired(messages: Iterable[Message]) -> list[Message]:
    """A foreign history made well-formed; see `repairs`."""
    return repairs(messages).messages


def repairs(messages: Iterable[Message]) -> Repairs:
    """Make a foreign history well-formed, and say what was changed.

    Results are moved directly behind their call, results without a call are left out, and calls
    without a result are closed. Nothing else moves.
    """
    kept: list[Message] = []
    changes: list[str] = []
    for segment in segments(messages):
        if segment[0].role == "assistant" and segment[0].tool_calls:
            kept.extend(_block(segment, changes))
        else:
            kept.extend(_without_results(segment, changes))
    return Repairs(kept, tuple(changes))


def segments(messages: Iterable[Message]) -> Iterator[list[Message]]:
    """Cut before every assistant message: what answers its calls stands before the next one."""
    segment: list[Message] = []
    for message in messages:
        if message.role == "assistant" and segment:
            yield segment
            segment = []
        segment.append(message)
    if segment:
        yield segment


def _block(segment: Sequence[Message], changes: list[str]) -> Iterator[Message]:
    """An assistant message, one result a call, then whatever stood between or behind them."""
    assistant, rest = segment[0], segment[1:]
    calls = {call.id: call.name for call in assistant.tool_calls}
    results: list[Message] = []
    others: list[Message] = []
    for message in rest:
        answers = message.role == "tool" and message.tool_call_id in calls
        if not answers or message.tool_call_id in {result.tool_call_id for result in results}:
            others.append(message)
            continue
        if any(other.role != "tool" for other in others):
            changes.append(f"the result of call {message.tool_call_id!r} was moved directly behind its call")
        results.append(message)
    yield assistant
    yield from results
    yield from _closing(assistant, calls, {result.tool_call_id for result in results}, changes)
    yield from _without_results(others, changes)


def _closing(
    assistant: Message, calls: dict[str, str], answered: set[str | None], changes: list[str]
) -> Iterator[Message]:
    for call_id, name in calls.items():
        if call_id not in answered:
            changes.append(f"call {call_id!r} of {name} had no result; one that says so was added")
            yield Message(
                role="tool",
                tool_call_id=call_id,
                name=name,
                content=NO_RESULT,
                created_at=assistant.created_at,
            )


def _without_results(messages: Sequence[Message], changes: list[str]) -> Iterator[Message]:
    for message in messages:
        if message.role != "tool":
            yield message
        else:
            changes.append(
                f"a result of call {message.tool_call_id!r} was left out: no open call has that id"
            )
