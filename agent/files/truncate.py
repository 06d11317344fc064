"""Truncation of a file's text to its budget, with a note of what was left out.

What stays true: the same text and budget give the same bytes, however often a request is built.
"""

import re

from conversation.token_estimate import CHARS_PER_TOKEN

#: Marks that are named one by one in the note; more of them are counted.
NAMED_MARKS_MAX = 5

_MARK = re.compile(r"^--- (page|sheet|slide) (.+) ---$", re.MULTILINE)


def tokens_in(chars: int) -> int:
    """An estimate of the tokens of so many characters: the same for every model."""
    return -(-chars // CHARS_PER_TOKEN)


def truncate_text(text: str, max_tokens: int) -> str:
    """Truncate a text at the end of a line or word, and append a note of what was left out."""
    max_chars = max_tokens * CHARS_PER_TOKEN
    if len(text) <= max_chars:
        return text
    head = text[:max_chars]
    # Not within a word, if that costs little.
    end = max(head.rfind("\n"), head.rfind(" "))
    beginning = head[: end if end > max_chars * 3 // 4 else max_chars].rstrip()
    return f"{beginning}\n[Cut here: {_describe_omission(text[len(beginning) :])}.]"


def _describe_omission(remainder: str) -> str:
    tokens = f"about {tokens_in(len(remainder)):,} tokens"
    marks = _MARK.findall(remainder)
    if not marks:
        return f"the rest was left out, {tokens}"
    kind, first = marks[0]
    labels = [label for found, label in marks if found == kind]
    if len(labels) == 1:
        return f"{kind} {first} was left out, {tokens}"
    if kind == "sheet":
        named_sheets = ", ".join(labels[:NAMED_MARKS_MAX])
        more = f" and {len(labels) - NAMED_MARKS_MAX} more" if len(labels) > NAMED_MARKS_MAX else ""
        return f"sheets {named_sheets}{more} were left out, {tokens}"
    return f"{kind}s {first} to {labels[-1]} were left out, {tokens}"
