"""A line of the log: how an event is written for people, and masked wherever it is written.

What stays true: one event is one line, whatever stands in its values; a terminal obeys nothing in it. A password in a
URL is masked, as is each secret that is named.
"""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

#: The fields that come first, in this order, without their names.
LEADING = ("timestamp", "level", "event")
#: The ids of a turn come last, in this order.
IDS = ("tenant", "thread", "turn", "agent")
_PLACED = frozenset(LEADING + IDS)
#: A shorter value is no secret, and hiding it would tear holes into ordinary words.
SECRET_MIN_CHARS = 8
MASK = "***"

_PLAIN = re.compile(r"[\w.:/@+<>()*-]+", re.ASCII)
_URL_PASSWORD = re.compile(r"(?<=://)[^\s/@\"':]*:[^\s/@\"']*(?=@)")


def show_line(event: Mapping[str, Any]) -> str:
    """An event as a line for people: when, how grave, what, and its values by name."""
    names = [name for name in event if name not in _PLACED] + [name for name in IDS if name in event]
    values = (f"{name}={_show_value(event[name])}" for name in names)
    moment, level, name = (str(event.get(field, "")) for field in LEADING)
    return " ".join((moment, f"{level:<7}", _show_text(name), *values))


def mask(line: str, secrets: Iterable[str] = ()) -> str:
    """The line without passwords of URLs and without these secrets."""
    for secret in secrets:
        line = line.replace(secret, MASK)
    return _URL_PASSWORD.sub(MASK, line) if "://" in line else line


def _show_value(value: object) -> str:
    if isinstance(value, str):
        # As JSON, which escapes quotes, ends of lines and whatever else a terminal would obey.
        return value if _PLAIN.fullmatch(value) else json.dumps(value)
    # Most values are whole numbers, each turn logs some, and an encoder of JSON is made anew for each call.
    return str(value) if type(value) is int else json.dumps(value, default=str)


def _show_text(text: str) -> str:
    return text if text.isascii() and text.isprintable() else json.dumps(text)[1:-1]
