"""What a well-formed history is: each tool call of an assistant is followed by exactly one tool message."""

from collections.abc import Iterable, Sequence

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


def repaired(messages: Iterable[Message]) -> list[Message]:
    """A foreign history made well-formed: results without a call go, calls without a result are closed."""
    kept: list[Message] = []
    for message in messages:
        waiting = open_calls(kept)
        if message.role == "tool" and message.tool_call_id not in waiting:
            continue
        if message.role != "tool":
            kept.extend(_closing(waiting))
        kept.append(message)
    kept.extend(_closing(open_calls(kept)))
    return kept


def _closing(waiting: dict[str, str]) -> list[Message]:
    return [
        Message(role="tool", tool_call_id=call_id, name=name, content=NO_RESULT)
        for call_id, name in waiting.items()
    ]
