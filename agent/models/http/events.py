"""Server-sent events out of bytes, as servers of models write them, which is not always as the standard has it.

What stays true: events are the same however the bytes were cut, and what is kept of an unfinished one is bounded.

Lines end in LF, CR or both; `data:` needs no space behind it; comments are nothing. A line of data that is JSON by
itself, or `[DONE]`, is an event at once, for some servers send no blank line; else lines make one until a blank line.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from agent.models.json_object import JsonObject, read_json
from conversation.errors import ModelError

#: Bytes of one event, at most: more than any answer needs.
EVENT_MAX_BYTES = 16 * 1024 * 1024
DONE = "[DONE]"

_LINE_END = re.compile(rb"\r\n|\n|\r")


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its name, mostly none, and its data, as a JSON object where it is one."""

    name: str
    data: JsonObject | str


class EventReader:
    """Reads the events of one stream."""

    def __init__(self) -> None:
        #: Pieces of a line that has no end yet.
        self._pieces: list[bytes] = []
        self._name = ""
        self._lines: list[str] = []
        self._size = 0

    def feed(self, data: bytes) -> list[Event]:
        """Take bytes. Returns the events that are whole now. Raises `ModelError` where one is too large."""
        events: list[Event] = []
        self._pieces.append(data)
        if b"\n" in data or b"\r" in data:
            *lines, rest = _split(b"".join(self._pieces))
            events = [event for line in lines for event in self._take(line)]
            self._pieces, self._size = [rest], sum(map(len, self._lines))
            data = rest
        self._size += len(data)
        if self._size > EVENT_MAX_BYTES:
            problem = f"the answer has an event of more than {EVENT_MAX_BYTES} bytes"
            raise ModelError("reply_too_large", problem, retryable=False, is_ours=True)
        return events

    def end(self) -> list[Event]:
        """End the stream. Returns the event that had no blank line behind it, if there is one."""
        rest, self._pieces = b"".join(self._pieces), []
        return [*self._take(rest.removesuffix(b"\r")), *self._take(b"")]

    def _take(self, line: bytes) -> Iterator[Event]:
        if not line:
            if self._lines:
                text = "\n".join(self._lines).strip()
                yield Event(self._name, _read_object(text) or text)
            self._name, self._lines = "", []
            return
        field, _, value = line.decode("utf-8", "replace").removeprefix("\ufeff").partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            self._name = value
        elif field == "data" and (self._lines or value.strip()):
            whole = None if self._lines else DONE if value.strip() == DONE else _read_object(value)
            if whole is None:
                self._lines.append(value)
            else:
                yield Event(self._name, whole)


def _split(data: bytes) -> list[bytes]:
    """The lines of bytes, and last what has no end yet: CR at the very end may be half of one."""
    if b"\r" not in data:
        return data.split(b"\n")
    half_end = b"\r" if data.endswith(b"\r") else b""
    *lines, rest = _LINE_END.split(data[: len(data) - len(half_end)])
    return [*lines, rest + half_end]


def _read_object(text: str) -> JsonObject | None:
    """The JSON object that a text is; None for any other text."""
    if not text.lstrip().startswith("{"):
        return None
    try:
        value = read_json(text)
    except ValueError:
        return None
    return value if isinstance(value, JsonObject) else None
