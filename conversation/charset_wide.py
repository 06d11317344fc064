"""The wide encodings, UTF-16 and UTF-32, of a text that has no mark to say so.

What stays true: a text is full of the common characters of its language in one of them, and of hardly any in
all others; no other bytes are.
"""

import codecs
import re
from functools import cache

#: Of the beginning of a text.
_EVIDENCE_BYTES = 4 * 1024
#: Characters by which a text without zeros is known to be in a wide encoding.
_MIN_CHARS = 6
_CONTROLS = re.compile(rb"[\x01-\x06\x0e-\x19\x1c-\x1f]")
#: The standards of Asia keep their more common characters in the first of their rows.
_COMMON_ROWS = (("gb2312", 0xB0, 0xD7), ("euc_jp", 0xB0, 0xCF), ("euc_kr", 0xB0, 0xC8), ("big5", 0xA4, 0xC6))


def guess_wide(content: bytes) -> tuple[str, float] | None:
    """Guess the wide encoding of a text without a mark, and its confidence from 0 to 1; None for other bytes."""
    has_zeros, head = b"\x00" in content, content[:_EVIDENCE_BYTES]
    # A zero in nearly every character shows it, and control characters make it likelier.
    min_chars = 3 if _CONTROLS.search(content) else 1 if head.count(0) * 3 > len(head) else _MIN_CHARS
    if len(content) < 2 * min_chars or (not has_zeros and len(content) % 2):
        return None
    names = ("utf-32-le", "utf-32-be", "utf-16-le", "utf-16-be") if has_zeros else ("utf-16-le", "utf-16-be")
    (share, name), (other_share, _) = sorted(((_share_of_common(head, name), name) for name in names), reverse=True)[:2]
    return (name, share - other_share) if share > 0.9 and share - other_share > 0.3 else None


def _share_of_common(content: bytes, encoding: str) -> float:
    """The share of characters that texts are full of; 0 for what is no text."""
    try:
        text = codecs.getincrementaldecoder(encoding)("strict").decode(content)
    except UnicodeDecodeError:
        return 0.0
    # Every text has some of them. Other bytes have none.
    return sum(char in _common_chars() for char in text) / (len(text) or 1)


@cache
def _common_chars() -> frozenset[str]:
    """The letters of alphabets, and the more common half of the characters of Asia, as their standards have it."""
    chars = {chr(code) for code in (9, 10, 12, 13, *range(0x20, 0x7F), *range(0xA0, 0x1100), *range(0x1EA0, 0x1EFA))}
    chars |= {chr(code) for code in (*range(0x2000, 0x2070), 0x20AC, *range(0x3000, 0x3100), *range(0xFF01, 0xFF60))}
    chars |= {chr(code) for code in range(0x1F300, 0x1FB00)}
    for encoding, first, last in _COMMON_ROWS:
        for lead in range(first, last + 1):
            row = b"".join(bytes((lead, trail)) for trail in range(0xA1, 0xFF))
            if encoding == "big5":
                row += b"".join(bytes((lead, trail)) for trail in range(0x40, 0x7F))
            chars.update(row.decode(encoding, "ignore"))
    return frozenset(chars)
