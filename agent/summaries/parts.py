"""The messages that a summary covers, in parts that its model takes.

What stays true: the parts together hold every message once, in order; a part that a model found too long
comes again in halves, and a single message with less of its text.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from agent.summaries.prompt import SHOWN_CHARS, SHOWN_MIN_CHARS, transcript_line
from agent.window.fitting import size_of
from conversation.message import Message

#: The part of a model's window that a request for a summary may fill; the answer needs the remainder.
REQUEST_SHARE = 0.6


@dataclass(frozen=True, slots=True)
class Part:
    """Messages that one request for a summary holds."""

    messages: tuple[Message, ...]
    #: Characters of each message's text that are shown, at most.
    shown_chars: int = SHOWN_CHARS

    @property
    def tokens(self) -> int:
        """The tokens of what is shown, about: rather more than fewer."""
        return sum(size_of(transcript_line(message, self.shown_chars)) for message in self.messages)


class SummaryParts:
    """The parts of what a summary covers that are still to be written of."""

    def __init__(self, covered_messages: Sequence[Message], max_tokens: int | None) -> None:
        """`max_tokens` is the known window of the model; None where it is not known."""
        self._parts = deque([Part(tuple(covered_messages))])
        self._max_tokens = max_tokens

    def take(self, prompt_tokens: int) -> Part | None:
        """Take the next part that fits beside a prompt of so many tokens; None where none is left."""
        if not self._parts:
            return None
        part = self._parts.popleft()
        if self._max_tokens is None:
            return part
        available_tokens = int(self._max_tokens * REQUEST_SHARE) - prompt_tokens
        while part.tokens > available_tokens and self.put_back_smaller(part):
            part = self._parts.popleft()
        return part

    def put_back_smaller(self, part: Part) -> bool:
        """Put back a part that is too long, in halves or with less of its text. Returns whether it is smaller."""
        middle = len(part.messages) // 2
        if middle:
            self._parts.appendleft(Part(part.messages[middle:], part.shown_chars))
            self._parts.appendleft(Part(part.messages[:middle], part.shown_chars))
            return True
        if part.shown_chars // 2 < SHOWN_MIN_CHARS:
            return False
        self._parts.appendleft(Part(part.messages, part.shown_chars // 2))
        return True
