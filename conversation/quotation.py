"""A caller's value as an error quotes it.

What stays true: a quotation is short, whatever the value's size, and can be printed; of a value that is neither text
nor a number it says the type alone, since its own text may be endless, or fail.
"""

from datetime import date, datetime, timedelta

#: Characters of a text that are quoted.
QUOTED_CHARS = 80
#: Bits of a whole number that is quoted in digits: as many as a double has.
QUOTED_BITS = 64


_PLAIN_TYPES = (bool, int, float, date, datetime, timedelta)


def quote_path(path: object) -> str:
    """Quote a path: of a long one its end, which has the name of the file."""
    text = str(path)
    return repr(text) if len(text) <= QUOTED_CHARS else f"…{text[-QUOTED_CHARS:]!r}"


def quote(value: object) -> str:
    """Quote a value."""
    if isinstance(value, str):
        # By Python's own methods: those of a type of somebody else's may fail.
        text = str.__str__(value)
        return repr(text) if len(text) <= QUOTED_CHARS else f"{text[:QUOTED_CHARS]!r}…"
    if isinstance(value, int) and int.bit_length(value) > QUOTED_BITS:
        return f"a number of {int.bit_length(value)} bits"
    if value is None or type(value) in _PLAIN_TYPES:
        return repr(value) if not isinstance(value, timedelta) else str(value)
    return f"of the type {type(value).__name__}"
