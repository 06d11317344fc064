"""The byte order marks of Unicode, by which a text says its own encoding.

What stays true: the mark of UTF-32 begins like the one of UTF-16, so that it is asked for first.
"""

import codecs

#: Each mark with the encoding of what follows it.
BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def split_byte_order_mark(content: bytes) -> tuple[str | None, bytes]:
    """Split a text's bytes: the encoding that its mark names, None without a mark, and what follows it."""
    for mark, encoding in BYTE_ORDER_MARKS:
        if content.startswith(mark):
            return encoding, content[len(mark) :]
    return None, content
