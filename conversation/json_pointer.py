"""JSON pointers (RFC 6901): the place of a value in a JSON document."""

import re
from typing import Any

from conversation.errors import InvalidInput
from conversation.quotation import quote
from conversation.validation import METADATA_MAX_DEPTH, check_text

#: Characters of a pointer.
POINTER_MAX_CHARS = 500
#: A reference token of an array: no sign, and no zero before another digit.
_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")
_BAD_ESCAPE = re.compile(r"~(?![01])")
#: What a pointer to nothing reads: null is a value.
MISSING: Any = object()


def check_pointer(field: str, value: object) -> str:
    """A pointer, as `/event/user`; "" is the whole document. Raises `InvalidInput`."""
    text = check_text(field, value, max_chars=POINTER_MAX_CHARS)
    is_pointer = not text or text.startswith("/")
    if not is_pointer or _BAD_ESCAPE.search(text) or text.count("/") > METADATA_MAX_DEPTH:
        raise InvalidInput(field, f"is {quote(text)}, no JSON pointer", "write it as /event/user, with ~1 for a slash")
    return text


def read_pointer(pointer: str, document: Any) -> Any:
    """The value at a pointer that was checked; `MISSING` where there is none."""
    value = document
    for token in pointer.split("/")[1:]:
        name = token.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict):
            value = value.get(name, MISSING)
        elif isinstance(value, list) and _INDEX.fullmatch(name):
            value = value[int(name)] if int(name) < len(value) else MISSING
        else:
            return MISSING
    return value
