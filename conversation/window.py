"""The window: the part of a history that the model sees.

What stays true: the window's start moves only in jumps, from a high mark down to a low one, so
that from turn to turn the beginning of the request stays the same, byte for byte, and a provider's
prompt cache is hit; and it begins where a turn does, so no block of tool calls is split.
"""

from collections.abc import Callable, Sequence

from conversation.message import Message


def window_start(to_seq: int, max_messages: int) -> int:
    """The seq after which the window begins: so that half to all of `max_messages` fit."""
    jump = max(1, max_messages // 2)
    surplus = to_seq - max_messages
    return 0 if surplus <= 0 else -(-surplus // jump) * jump


def start_at_turn_boundary(window: Sequence[Message]) -> Sequence[Message]:
    """The window from the first message on that begins a turn; system messages before that are kept.

    A window in which no turn begins is left as it is: there is no better position to begin at.
    """
    if not window or _begins_turn(window, 0):
        return window
    messages = tuple(window)
    return _leave_out(window, next((index for index in range(len(messages)) if _begins_turn(messages, index)), 0))


def _leave_out(window: Sequence[Message], count: int) -> Sequence[Message]:
    """The window without so many of its oldest messages, but for system messages."""
    if not count:
        return window
    # A slice is of the window's own kind, which may hold its messages in less memory than a tuple.
    system_messages = [message for message in window[:count] if message.role == "system"]
    return (*system_messages, *window[count:]) if system_messages else window[count:]


def _begins_turn(window: Sequence[Message], index: int) -> bool:
    """Whether a turn begins here: by a user, a system message that is answered, or an assistant who spoke first."""
    message = window[index]
    match message.role:
        case "system":
            return message.turn_id is not None and any(
                (answer.role, answer.seq, answer.turn_id) == ("assistant", (message.seq or 0) + 1, message.turn_id)
                for answer in window[index + 1 : index + 2]
            )
        case "assistant" if message.seq is None:
            return not message.tool_calls and all(earlier.role == "system" for earlier in window[:index])
        case "assistant":
            return message.seq == index + 1  # nothing is left out before it
    return message.role == "user"


def fit_into_tokens(window: Sequence[Message], max_tokens: int, count: Callable[[Message], int]) -> Sequence[Message]:
    """The newest turns of a window that fit into `max_tokens`; the last one and system messages always.

    The decisions of earlier turns are repeated, each with the messages of its time. So the start stays
    where the last turn had it until that no longer fits; then it jumps, down to half.
    """
    turns = split_into_turns(window)
    costs = [[0 if m.role == "system" else count(m) for m in turn] for turn in turns]
    budget = max_tokens - sum(count(message) for message in window if message.role == "system")
    start = used = 0
    for index, cost in enumerate(costs):
        question_cost = cost[0]
        if used + question_cost > budget:
            while start < index and used + question_cost > budget // 2:
                used -= sum(costs[start])
                start += 1
        used += sum(cost)
    return _leave_out(window, sum(map(len, turns[:start])))


def split_into_turns(window: Sequence[Message]) -> list[list[Message]]:
    """The window, split so that each turn begins with a user's message."""
    turns: list[list[Message]] = []
    for message in window:
        if message.role == "user" or not turns:
            turns.append([])
        turns[-1].append(message)
    return turns
