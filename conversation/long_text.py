"""Patterns over text that anybody may have written, of any length: searched in pieces.

What stays true: one call of `re` reads no more than a piece, since it holds the interpreter until it returns, and with
it each other turn of the process, whichever thread it is in. A value of up to `VALUE_MAX_CHARS` that stands across the
end of a piece is found whole.
"""

import re
from collections.abc import Iterator

#: Characters of a piece: a few milliseconds, of the slowest pattern.
PIECE_CHARS = 8_192
#: Characters of a value that stands across the end of a piece, at most; a longer one is cut there.
VALUE_MAX_CHARS = 1_024


def find_matches(pattern: re.Pattern[str], text: str) -> Iterator[re.Match[str]]:
    """Find the matches of a pattern, none of which is empty, in their order."""
    at = 0
    while at < len(text):
        end = at + PIECE_CHARS
        for match in pattern.finditer(text, at, end + VALUE_MAX_CHARS):
            if match.start() >= end:
                break
            at = match.end()
            yield match
        at = max(at, end)


def has_match(pattern: re.Pattern[str], text: str) -> bool:
    """Whether a pattern is found in a text."""
    return next(find_matches(pattern, text), None) is not None
