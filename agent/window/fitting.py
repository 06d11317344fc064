"""Fitting a conversation into fewer tokens than it has: older turns go first, then long texts are cut.

What stays true: nothing here changes a stored message; the newest turn's messages are all kept, the
longest of them cut, with a note where something is missing; each tool call keeps its result.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from conversation.message import Message, ToolCall
from conversation.parts import TextPart
from conversation.token_estimate import TOKENS_PER_MESSAGE
from conversation.window import split_into_turns

#: Bytes of UTF-8 a token, at least, of most languages: an estimate that is rather too high.
BYTES_PER_TOKEN = 3
#: Tokens below which a text is not cut: what would be left says too little.
KEPT_MIN_TOKENS = 48
#: The part of a cut text that is kept of its beginning; the remainder is of its end.
HEAD_SHARE = 2 / 3


@dataclass(frozen=True, slots=True)
class FittedMessages:
    """Messages that fit, and what was left out for that."""

    window: tuple[Message, ...]
    new_messages: tuple[Message, ...]
    #: Ids of messages that were left out.
    left_out: tuple[str, ...] = ()
    #: By the id of a message that was cut: the characters that are missing.
    cut: Mapping[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any] | None:
        """The record of what was left out, for the turn; None where that is nothing."""
        if not self.left_out and not self.cut:
            return None
        return {"messages": list(self.left_out), "cut": dict(self.cut)}


def size_of(text: str) -> int:
    """An estimate of a text's tokens, rather too high than too low."""
    return len(text.encode("utf-8", "replace")) // BYTES_PER_TOKEN


def size_of_message(message: Message) -> int:
    """An estimate of a message's tokens, without its files."""
    calls = sum(size_of(call.name) + size_of(call.arguments) for call in message.tool_calls)
    return TOKENS_PER_MESSAGE + size_of(message.content) + calls


def fit_messages(window: Sequence[Message], new_messages: Sequence[Message], max_tokens: int) -> FittedMessages:
    """Fit a window and the turn's new messages into so many tokens, as far as that is possible."""
    turns = split_into_turns(window)
    sizes = [sum(map(size_of_message, turn)) for turn in turns]
    new_size = sum(map(size_of_message, new_messages))
    start = 0
    while start < len(turns) - 1 and sum(sizes[start:]) + new_size > max_tokens:
        start += 1
    old_messages = [message for turn in turns[:start] for message in turn]
    kept_window = [m for m in old_messages if m.role == "system"] + [m for turn in turns[start:] for m in turn]
    limit = _find_limit([*kept_window, *new_messages], max_tokens)
    cut_window = [_cut(message, limit) for message in kept_window]
    cut_new_messages = [_cut(message, limit) for message in new_messages]
    return FittedMessages(
        window=tuple(message for message, _ in cut_window),
        new_messages=tuple(message for message, _ in cut_new_messages),
        left_out=tuple(message.id for message in old_messages if message.role != "system"),
        cut={message.id: missing for message, missing in (*cut_window, *cut_new_messages) if missing},
    )


def _find_limit(messages: Sequence[Message], max_tokens: int) -> int | None:
    """The tokens that the longest messages may keep, so that all fit; None where they do as they are."""
    sizes = sorted(map(size_of_message, messages))
    if sum(sizes) <= max_tokens:
        return None
    remaining_tokens = max_tokens
    for index, size in enumerate(sizes):
        share = remaining_tokens // (len(sizes) - index)
        if size > share:
            return max(share - TOKENS_PER_MESSAGE, KEPT_MIN_TOKENS)
        remaining_tokens -= size
    return None


def _cut(message: Message, limit: int | None) -> tuple[Message, int]:
    """A message cut to so many tokens, and the number of characters that are missing."""
    if limit is None or size_of_message(message) <= limit + TOKENS_PER_MESSAGE:
        return message, 0
    calls = [_cut_call(call, limit) for call in message.tool_calls]
    content, missing = cut_text(message.content, limit)
    parts = message.parts
    if missing and parts:
        parts = (TextPart(content), *(part for part in parts if not isinstance(part, TextPart)))
    missing += sum(cut for _, cut in calls)
    return replace(message, content=content, parts=parts, tool_calls=tuple(call for call, _ in calls)), missing


def _cut_call(call: ToolCall, limit: int) -> tuple[ToolCall, int]:
    text, missing = cut_text(call.arguments, limit)
    return (replace(call, arguments=json.dumps({"cut": text}, ensure_ascii=False)), missing) if missing else (call, 0)


def cut_text(text: str, limit: int) -> tuple[str, int]:
    """A text cut to so many tokens, with a note where something is missing; and how many characters are."""
    size = size_of(text)
    if size <= limit:
        return text, 0
    kept_chars = len(text) * limit // size
    head, tail = int(kept_chars * HEAD_SHARE), kept_chars - int(kept_chars * HEAD_SHARE)
    missing = len(text) - kept_chars
    note = f"\n[… {missing} characters are left out here: the model takes no more …]\n"
    return text[:head] + note + text[len(text) - tail :], missing
