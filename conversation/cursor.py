"""A cursor: the place in a listing behind which its next page begins, as text that a client passes back.

What stays true: a text that no listing wrote is refused with `InvalidInput`, whatever is in it, and costs nothing to
read.
"""

import base64
import json
from collections.abc import Sequence
from datetime import datetime

from conversation.arguments import BIGINT_MAX
from conversation.errors import InvalidInput
from conversation.validation import check_moment

#: Characters of a cursor: those of a moment and a key, with room.
CURSOR_MAX_CHARS = 200

CursorValue = datetime | int | None


def write_cursor(*values: CursorValue) -> str:
    """Write the values that a listing is sorted by, of the last row of a page."""
    texts = [value.isoformat() if isinstance(value, datetime) else value for value in values]
    return base64.urlsafe_b64encode(json.dumps(texts).encode()).decode().rstrip("=")


def read_cursor(cursor: object, kinds: Sequence[type], *, fix: str) -> list[CursorValue]:
    """Read the values of a cursor, each of one of these types, in their order; a moment may be None.

    Raises `InvalidInput` with this way to mend it.
    """
    try:
        return [_read_value(value, kind) for value, kind in zip(_decode(cursor), kinds, strict=True)]
    except ValueError:
        raise InvalidInput("cursor", "is none of ours", fix) from None


def _decode(cursor: object) -> list[object]:
    if not isinstance(cursor, str) or str.__len__(cursor) > CURSOR_MAX_CHARS:
        return []
    padded = str.encode(cursor) + b"=" * (-str.__len__(cursor) % 4)
    values = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    return values if isinstance(values, list) else []


def _read_value(value: object, kind: type) -> CursorValue:
    if kind is datetime and (value is None or isinstance(value, str)):
        return None if value is None else check_moment("cursor", datetime.fromisoformat(value))
    if kind is not int or type(value) is not int or not 0 < value <= BIGINT_MAX:
        raise ValueError("no cursor holds another value")
    return value
