"""JSON objects as what they are read as: dicts whose keys are attributes, too.

What stays true: they are plain JSON: equal to the dicts that they are, and written as those.
"""

import json
from typing import Any


class JsonObject(dict[str, Any]):
    """A JSON object whose keys can be read as attributes, as those of a library's classes are."""

    def __getattr__(self, name: str) -> Any:
        if name in self:
            return self[name]
        raise AttributeError(name)


#: Made once: each chunk of a stream is read by it.
_DECODER = json.JSONDecoder(object_hook=JsonObject)


def read_json(data: str | bytes) -> Any:
    """Read JSON whose objects are `JsonObject`s. Raises `ValueError` for what is none, however it is none."""
    text = data.decode("utf-8", "replace") if isinstance(data, bytes) else data
    try:
        return _DECODER.decode(text.removeprefix("\ufeff"))
    except RecursionError:
        raise ValueError("nested too deeply") from None


def as_list(value: Any) -> list[Any]:
    """A value that is a list; an empty one for any other value."""
    return value if isinstance(value, list) else []
