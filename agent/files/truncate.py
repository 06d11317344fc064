"""Cutting a file's text to what there is room for, and saying what was left out.

What stays true: the same text and room give the same bytes, however often a request is built.
"""

import re

from conversation.token_estimate import CHARS_PER_TOKEN

#: Marks that are named one by one in the note; more of them are counted.
NAMED_MAX = 5

_MARK = re.compile(r"^--- (page|sheet|slide) (.+) ---$", re.MULTILINE)


def tokens_in(chars: int) -> int:
    """About how many tokens so many characters are: the same for every model."""
    return -(-chars // CHARS_PER_TOKEN)


def cut(text: str, max_tokens: int) -> str:
    """The beginning of a text, to the end of a line or word, and a note of what was left out."""
    room = max_tokens * CHARS_PER_TOKEN
    if len(text) <= room:
        return text
    head = text[:room]
    # Not within a word, if that costs little.
    end = max(head.rfind("\n"), head.rfind(" "))
    kept = head[: end if end > room * 3 // 4 else room].rstrip()
    return f"{kept}\n[Cut here: {_left_out(text[len(kept) :])}.]"


def _left_out(rest: str) -> str:
    tokens = f"about {tokens_in(len(rest)):,} tokens"
    marks = _MARK.findall(rest)
    if not marks:
        return f"the rest was left out, {tokens}"
    kind, first = marks[0]
    labels = [label for found, label in marks if found == kind]
    if len(labels) == 1:
        return f"{kind} {first} was left out, {tokens}"
    if kind == "sheet":
        named = ", ".join(labels[:NAMED_MAX])
        more = f" and {len(labels) - NAMED_MAX} more" if len(labels) > NAMED_MAX else ""
        return f"sheets {named}{more} were left out, {tokens}"
    return f"{kind}s {first} to {labels[-1]} were left out, {tokens}"
