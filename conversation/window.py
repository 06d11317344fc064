"""Which part of a history the model sees.

What stays true: the window's start moves only in jumps, from a high mark down to a low one, so
that from turn to turn the beginning of the request stays the same, byte for byte, and a provider's
prompt cache is hit; and it begins at a user's message, so no block of tool calls is cut in two.
"""

from collections.abc import Sequence

from conversation.message import Message


def window_start(to_seq: int, max_messages: int) -> int:
    """The seq after which the window begins: so that half to all of `max_messages` fit."""
    jump = max(1, max_messages // 2)
    surplus = to_seq - max_messages
    return 0 if surplus <= 0 else -(-surplus // jump) * jump


def from_turn_boundary(window: Sequence[Message]) -> tuple[Message, ...]:
    """The window from its first user message on; system messages before that are kept.

    A window without a user message is left as it is: there is no better place to begin.
    """
    first = next((index for index, message in enumerate(window) if message.role == "user"), 0)
    return (*(m for m in window[:first] if m.role == "system"), *window[first:])
