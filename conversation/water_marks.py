"""Water marks: when a thread is summarized, and down to where.

What stays true: the low mark is below the high one, so that a thread which was just summarized is not
due again; a high mark of 0 is never passed.
"""

from dataclasses import dataclass, replace

from conversation.errors import InvalidInput


@dataclass(frozen=True, slots=True, kw_only=True)
class WaterMarks:
    """The marks for the messages and tokens of a thread that no summary covers yet."""

    #: A thread with so many is due for a summary; 0 counts none.
    high_messages: int
    high_tokens: int
    #: The newest turns that together have no more than this stay uncovered; 0 tokens counts messages only.
    low_messages: int
    low_tokens: int

    def __post_init__(self) -> None:
        for unit in ("messages", "tokens"):
            high, low = getattr(self, f"high_{unit}"), getattr(self, f"low_{unit}")
            for field, mark in ((f"summarize_after_{unit}", high), (f"summarize_keep_{unit}", low)):
                if mark < 0:
                    raise InvalidInput(field, f"is {mark}", "pass 0 or more")
            if 0 < high <= low:
                raise InvalidInput(
                    f"summarize_keep_{unit}", f"is {low}", f"keep less than summarize_after_{unit}, {high}"
                )
        if self.low_messages < 1:
            raise InvalidInput("summarize_keep_messages", f"is {self.low_messages}", "keep 1 or more")

    def within(self, window_tokens: int | None) -> "WaterMarks":
        """The marks of a thread whose model takes only so many tokens: half of them, down to a quarter."""
        if window_tokens is None or not self.high_tokens:
            return self
        high_tokens = max(min(self.high_tokens, window_tokens // 2), 2)
        low_tokens = min(self.low_tokens or high_tokens, high_tokens // 2)
        return replace(self, high_tokens=high_tokens, low_tokens=low_tokens)

    def are_passed(self, *, messages: int, tokens: int) -> bool:
        """Whether a thread with so much uncovered history is due."""
        return 0 < self.high_messages <= messages or 0 < self.high_tokens <= tokens
