"""JSON. What stays true: it is shown as it is, escapes and all."""

import json

from tests.marked_files import MarkedFile, mark_of

_PLACES = {"a key": "", "a value": "", "a value deep inside": "", "a list": ""}


def build() -> MarkedFile:
    """Build an object with objects and lists in it."""
    key, value, inner, entry = map(mark_of, _PLACES)
    content = json.dumps({key: value, "deep": {"er": {"still": inner}}, "list": [1, entry, None]})
    return MarkedFile("application/json", content.encode(), _PLACES)
