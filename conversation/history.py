"""The rule of a well-formed history: one tool message follows for each tool call of an assistant."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from conversation.errors import InvalidInput
from conversation.message import Message
from conversation.quotation import quote

#: Open calls that an error names, at most.
NAMED_CALLS = 5
#: The content of a tool message whose result a foreign history does not have.
NO_RESULT = '{"error": {"type": "NoResult", "message": "no result of this call is known"}}'


def open_calls(history: Sequence[Message]) -> dict[str, str]:
    """The calls of the last block that have no result yet: id → tool."""
    answered_ids: set[str] = set()
    for message in reversed(history):
        if message.role == "tool" and message.tool_call_id is not None:
            answered_ids.add(message.tool_call_id)
        elif message.role == "assistant":
            return {call.id: call.name for call in message.tool_calls if call.id not in answered_ids}
        elif message.role == "user":
            return {}
    return {}


def check_next(history: Sequence[Message], message: Message) -> None:
    """Check that `message` may stand after `history`. Raises `InvalidInput`."""
    pending_calls = open_calls(history)
    if message.role == "tool" and message.tool_call_id not in pending_calls:
        raise InvalidInput(
            "tool_call_id",
            f"{quote(message.tool_call_id)} answers no open call",
            "add the assistant message with that call before, and one tool message for each call",
        )
    if message.role != "tool" and pending_calls:
        names = ", ".join(map(quote, list(pending_calls)[:NAMED_CALLS]))
        raise InvalidInput(
            "role",
            f"a {message.role} message cannot stand before the results of {names}",
            "add a tool message for each open call first",
        )


@dataclass(frozen=True, slots=True)
class RepairedHistory:
    """A foreign history after its repair, and the changes that this took."""

    messages: list[Message]
    #: One sentence each, in order; () where it was well-formed.
    changes: tuple[str, ...]


def repair_messages(messages: Iterable[Message]) -> list[Message]:
    """Make a foreign history well-formed; see `repair`."""
    return repair(messages).messages


def repair(messages: Iterable[Message]) -> RepairedHistory:
    """Make a foreign history well-formed, and name the changes.

    Results are moved directly behind their call, results without a call are left out, and calls
    without a result are closed. Nothing else moves.
    """
    repaired_messages: list[Message] = []
    changes: list[str] = []
    for segment in segments(messages):
        if segment[0].role == "assistant" and segment[0].tool_calls:
            repaired_messages.extend(_repair_block(segment, changes))
        else:
            repaired_messages.extend(_drop_results(segment, changes))
    return RepairedHistory(repaired_messages, tuple(changes))


def segments(messages: Iterable[Message]) -> Iterator[list[Message]]:
    """The history, split before every assistant message: its calls' results stand before the next one."""
    segment: list[Message] = []
    for message in messages:
        if message.role == "assistant" and segment:
            yield segment
            segment = []
        segment.append(message)
    if segment:
        yield segment


def _repair_block(segment: Sequence[Message], changes: list[str]) -> Iterator[Message]:
    """An assistant message, one result a call, then the messages that stood between or behind them."""
    assistant, remainder = segment[0], segment[1:]
    calls = {call.id: call.name for call in assistant.tool_calls}
    results: list[Message] = []
    other_messages: list[Message] = []
    for message in remainder:
        is_result = message.role == "tool" and message.tool_call_id in calls
        if not is_result or message.tool_call_id in {result.tool_call_id for result in results}:
            other_messages.append(message)
            continue
        if any(other.role != "tool" for other in other_messages):
            changes.append(f"the result of call {message.tool_call_id!r} was moved directly behind its call")
        results.append(message)
    yield assistant
    yield from results
    yield from _close_calls(assistant, calls, {result.tool_call_id for result in results}, changes)
    yield from _drop_results(other_messages, changes)


def _close_calls(
    assistant: Message, calls: dict[str, str], answered_ids: set[str | None], changes: list[str]
) -> Iterator[Message]:
    for call_id, name in calls.items():
        if call_id not in answered_ids:
            changes.append(f"call {call_id!r} of {name} had no result; one that says so was added")
            yield Message(
                role="tool", tool_call_id=call_id, name=name, content=NO_RESULT, created_at=assistant.created_at
            )


def _drop_results(messages: Sequence[Message], changes: list[str]) -> Iterator[Message]:
    for message in messages:
        if message.role != "tool":
            yield message
        else:
            changes.append(f"a result of call {message.tool_call_id!r} was left out: no open call has that id")
