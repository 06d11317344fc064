"""Texts that a pattern may take too long over, made from the pattern itself.

What stays true: for each loop of a pattern there is a text that enters it and never leaves it, and for each beginning a
text that is full of it; so a pattern whose time grows as the square of a text shows it on one of them.
"""

import re
from collections.abc import Iterator
from re import _constants as sre  # type: ignore[attr-defined] # the parser of patterns has no public name
from re import _parser  # type: ignore[attr-defined]
from typing import Any

#: A text of an attack: what it begins with, what is repeated, what it ends with.
Attack = tuple[str, str, str]

_CHARS = "a1A .-_\"'<>&;\n\t,:/é=@#%(){}[]|~\x00\u0301*+?!$\\`"
_CATEGORIES = {
    sre.CATEGORY_DIGIT: "1", sre.CATEGORY_SPACE: " ", sre.CATEGORY_WORD: "a",
    sre.CATEGORY_NOT_DIGIT: "a", sre.CATEGORY_NOT_SPACE: "a", sre.CATEGORY_NOT_WORD: "-",
}  # fmt: skip
_REPEATS = (sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT)
#: Texts to which no pattern has to be known.
_USUAL = (
    *' a1([{<"\\\n-.,\u0301é', "a ", "a,", "1,", "a\n", " \n", "<a ", '"a', "a.", "a@", "://", "a:", "\r\n", "[]",
)  # fmt: skip


def list_attacks(pattern: re.Pattern[Any]) -> Iterator[Attack]:
    """List the attacks on a pattern."""
    is_bytes = isinstance(pattern.pattern, bytes)
    text = pattern.pattern.decode("latin-1") if is_bytes else pattern.pattern
    tree = _parser.parse(text, pattern.flags & ~re.UNICODE if is_bytes else pattern.flags)
    pairs = {*_list_pairs(tree), *(("", each) for each in _USUAL)}
    if "\\b" in text:
        # Where words end between two of them.
        pairs |= {(first, loop + "-") for first, loop in pairs}
    return ((first, loop, end) for first, loop in sorted(pairs) if loop for end in ("", "\n!"))


def write_text(attack: Attack, size: int) -> str:
    """The text of an attack, of so many characters."""
    first, loop, end = attack
    return first + loop * max(1, (size - len(first)) // len(loop)) + end


def _list_pairs(tree: Any) -> Iterator[tuple[str, str]]:
    """Each beginning with the loop that follows it, and each beginning as a loop of its own."""
    first = ""
    for index, (kind, value) in enumerate(tree):
        if kind in _REPEATS:
            yield from ((first, loop) for loop in _write_bodies(value[2]))
        for part in _parts_of(kind, value):
            yield from ((first + begin, loop) for begin, loop in _list_pairs(part))
        first += _write_example(kind, value)
        # Of a word, only the whole one.
        if kind is not sre.LITERAL or index + 1 == len(tree) or tree[index + 1][0] is not sre.LITERAL:
            yield "", first
            yield first[:-1], first[-1:]


def _parts_of(kind: Any, value: Any) -> list[Any]:
    if kind in _REPEATS:
        return [value[2]]
    if kind is sre.BRANCH:
        return list(value[1])
    if kind is sre.SUBPATTERN:
        return [value[3]]
    if kind is sre.ATOMIC_GROUP:
        return [value]
    return [value[1]] if kind is sre.ASSERT else []


def _write_bodies(tree: Any) -> set[str]:
    """What a loop may be full of: of a class of characters, several."""
    bodies = {"".join(_write_example(kind, value) for kind, value in tree)}
    if len(tree) == 1 and tree[0][0] is sre.IN:
        bodies.update(_list_members(tree[0][1]))
    return bodies


def _list_members(items: Any) -> list[str]:
    chars = []
    for kind, value in items:
        if kind is sre.LITERAL:
            chars.append(chr(value))
        elif kind is sre.RANGE:
            chars.append(chr(value[0]))
        elif kind is sre.CATEGORY:
            chars.append(_CATEGORIES[value])
    if items[0][0] is sre.NEGATE:
        return [char for char in _CHARS if char not in chars][:4]
    return chars[:4] or ["a"]


def _write_example(kind: Any, value: Any) -> str:
    """A text that a part of a pattern takes, about."""
    if kind is sre.LITERAL:
        return chr(value)
    if kind in (sre.NOT_LITERAL, sre.ANY):
        return "b" if value == ord("a") else "a"
    if kind is sre.IN:
        return _list_members(value)[0]
    if kind is sre.ASSERT and value[0] > 0:
        return ""  # what is looked at ahead is written by what follows
    times = max(1, min(value[0], 50)) if kind in _REPEATS else 1
    parts = _parts_of(kind, value)
    return "".join(_write_example(*each) for each in parts[0]) * times if parts else ""
