"""Server-sent events, as the WHATWG's standard has them, out of chunks of bytes.

What stays true: how the bytes are cut into chunks changes nothing, also within a character or a CRLF. An event whose
empty line did not come is none, and leaves no trace: not its id either.
"""

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass

_LINE_END = re.compile("\r\n|\n|\r")
#: What a server may ask for between two connections, in milliseconds; what is longer is taken for this.
RETRY_MAX_MILLISECONDS = 60_000


@dataclass(frozen=True)
class ServerSentEvent:
    """One event: its name, its data, and the id of the last event that had one, itself included."""

    name: str
    data: str
    last_event_id: str


class EventStreamParser:
    """The parser of one connection's stream."""

    def __init__(self, last_event_id: str = "") -> None:
        #: Of the last event that was complete; a stream that is resumed begins with that of the one before.
        self.last_event_id = last_event_id
        #: What the server asked for between two connections; None before it did.
        self.retry_milliseconds: int | None = None
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._is_at_start = True
        self._is_after_return = False
        self._begun_line: list[str] = []
        self._name = ""
        self._data: list[str] = []
        self._id = last_event_id

    def feed(self, chunk: bytes) -> Iterator[ServerSentEvent]:
        """Take a chunk; gives the events that it completes."""
        for line in self._lines(self._decoder.decode(chunk)):
            if line:
                self._take_field(line)
            elif event := self._dispatch():
                yield event

    def _lines(self, text: str) -> Iterator[str]:
        if text and self._is_at_start:
            self._is_at_start = False
            text = text.removeprefix("\ufeff")
        if text and self._is_after_return:
            # A return ends its line at once; where a line feed comes after it, that belongs to it.
            self._is_after_return = False
            text = text.removeprefix("\n")
        if not text:
            return
        self._is_after_return = text.endswith("\r")
        first, *others = _LINE_END.split(text)
        self._begun_line.append(first)
        for line in others:
            yield "".join(self._begun_line)
            self._begun_line = [line]

    def _take_field(self, line: str) -> None:
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            self._name = value
        elif field == "data":
            self._data.append(value)
        elif field == "id" and "\0" not in value:
            self._id = value
        elif field == "retry" and value.isascii() and value.isdigit():
            self.retry_milliseconds = min(int(value[:9]), RETRY_MAX_MILLISECONDS)

    def _dispatch(self) -> ServerSentEvent | None:
        self.last_event_id = self._id
        name, data = self._name or "message", self._data
        self._name, self._data = "", []
        return ServerSentEvent(name, "\n".join(data), self._id) if data else None
