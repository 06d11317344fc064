"""Exceptions of foreign code, as of tools: their type, their message and their place, told without trusting any of it.

What stays true: nothing here raises, whatever the exception's own code does, and what is told has a
length; a group of exceptions is told by its leaves. It runs foreign code, and may hang: never on the
loop of the turns.
"""

import traceback

#: Characters of an error's message: the cause stands at its beginning.
ERROR_MAX_CHARS = 2_000
#: Characters of an exception's name.
NAME_MAX_CHARS = 100
#: Leaves of a group of exceptions that are told, and exceptions of it that are looked at.
LEAVES_MAX = 10
GROUP_MAX = 10_000
#: Innermost frames of an exception in the log: enough to find the line.
TRACE_FRAMES = 8


def name_of(error: BaseException) -> str:
    """The name of an exception's type."""
    try:
        return shorten(str(type(error).__name__), NAME_MAX_CHARS)
    except BaseException:  # noqa: BLE001 - foreign code: a type of types may break even while it is named
        return "Exception"


def text_of(error: BaseException) -> str:
    """The message of an exception; of a group, the types and messages of its leaves."""
    try:
        if isinstance(error, BaseExceptionGroup):
            return _text_of_group(error)
        return shorten(str(error), ERROR_MAX_CHARS)
    except BaseException:  # noqa: BLE001 - foreign code: an exception may break even while it is shown
        return ""


def trace_of(error: BaseException) -> list[str]:
    """The innermost places that an exception came through, without values: those are the user's."""
    try:
        frames = traceback.StackSummary.extract(
            traceback.walk_tb(error.__traceback__), limit=-TRACE_FRAMES, lookup_lines=False
        )
        return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
    except BaseException:  # noqa: BLE001 - as above
        return []


def shorten(text: str, limit: int) -> str:
    """The text, with an ellipsis in place of what is too much."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _text_of_group(group: BaseExceptionGroup[BaseException]) -> str:
    leaves: list[str] = []
    count, looked_at = 0, 0
    waiting: list[BaseException] = [group]
    while waiting and looked_at < GROUP_MAX:
        error = waiting.pop()
        looked_at += 1
        if isinstance(error, BaseExceptionGroup):
            waiting.extend(reversed(error.exceptions[: GROUP_MAX - looked_at]))
            continue
        count += 1
        if len(leaves) < LEAVES_MAX:
            leaves.append(f"{name_of(error)}: {shorten(text_of(error), ERROR_MAX_CHARS // LEAVES_MAX)}")
    more = "" if count == len(leaves) else f"; and {count - len(leaves)}{' or more' if waiting else ''} others"
    return "; ".join(leaves) + more
