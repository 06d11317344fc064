"""The properties of a message in a file of Outlook: streams of texts, and one stream of numbers and times.

What stays true: a property that is missing or broken is empty, never an error.
"""

import struct
from collections.abc import Collection, Iterator
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

from agent.files.readers.decode import decode

#: The types that a text has: by Unicode, and by the code page of who wrote it.
_UNICODE, _ANSI, _BINARY, _OBJECT = "001F", "001E", "0102", "000D"
_STREAM, _NUMBERS = "__substg1.0_", "__properties_version1.0"
_CODE_PAGES = (0x3FFD, 0x3FDE)
#: Bytes before the properties: of the message itself, of one within a message, of a receiver or file.
_TOP_HEAD, _INNER_HEAD, _PART_HEAD = 32, 24, 8
_EPOCH = datetime(1601, 1, 1, tzinfo=UTC)


class Properties:
    """Of a message, a receiver or an attachment."""

    def __init__(self, file: Any, path: tuple[str, ...] = (), head: int = _TOP_HEAD, code_page: str = "") -> None:
        """`path` is where in the file it stands, `head` what stands before its numbers."""
        self._file, self._path, self._head = file, path, head
        self._code_page = code_page
        self._code_page = self._find_code_page() or code_page

    def text(self, number: int) -> str:
        """A text; "" without it."""
        wide = self._stream(number, _UNICODE)
        text = wide.decode("utf-16-le", "replace") if wide else decode(self._stream(number, _ANSI), self._code_page)
        return text.strip("\0").strip()

    def content(self, number: int) -> bytes:
        """Bytes; none without them."""
        return self._stream(number, _BINARY)

    def markup(self, number: int) -> str:
        """A page, which says itself how it is encoded."""
        content = self.content(number)
        if not content:
            return self.text(number)
        declared = decode(content)
        return declared if "charset" in declared[:4096].lower() else decode(content, self._code_page)

    def number(self, number: int) -> int:
        """A number; 0 without it."""
        return int(struct.unpack("<i", self._fixed.get(number, bytes(8))[:4])[0])

    def time(self, number: int) -> str:
        """A time; "" without it."""
        (ticks,) = struct.unpack("<Q", self._fixed.get(number, bytes(8)))
        try:
            return f"{_EPOCH + timedelta(microseconds=ticks // 10):%Y-%m-%d %H:%M:%S} UTC" if ticks else ""
        except OverflowError:
            return ""

    def inner(self, prefix: str) -> Iterator["Properties"]:
        """The receivers or attachments of a message, in their order."""
        depth = len(self._path)
        names = {
            path[depth]
            for path in self._paths
            if len(path) > depth and tuple(path[:depth]) == self._path and path[depth].startswith(prefix)
        }
        for name in sorted(names):
            yield Properties(self._file, (*self._path, name), _PART_HEAD, self._code_page)

    def message(self, number: int) -> "Properties | None":
        """The message that is attached as this property; None for another file."""
        path = (*self._path, f"{_STREAM}{number:04X}{_OBJECT}")
        if not self._file.exists([*path, _NUMBERS]):
            return None
        return Properties(self._file, path, _INNER_HEAD, self._code_page)

    def count_texts(self, except_for: Collection[int]) -> int:
        """How many texts it has beside these."""
        depth, numbers = len(self._path), set()
        for path in self._paths:
            if len(path) != depth + 1 or tuple(path[:depth]) != self._path or not path[depth].startswith(_STREAM):
                continue
            number, kind = path[depth].removeprefix(_STREAM)[:4], path[depth][-4:]
            if kind in (_UNICODE, _ANSI) and len(path[depth]) == len(_STREAM) + 8 and int(number, 16) not in except_for:
                numbers.add(number)
        return len(numbers)

    @cached_property
    def _paths(self) -> list[list[str]]:
        return [list(path) for path in self._file.listdir(storages=False)]

    @cached_property
    def _fixed(self) -> dict[int, bytes]:
        """The values of eight bytes, by their numbers."""
        stream = self._open(_NUMBERS)[self._head :]
        fields = (stream[at : at + 16] for at in range(0, len(stream) - 15, 16))
        return {int.from_bytes(field[2:4], "little"): field[8:16] for field in fields}

    def _find_code_page(self) -> str:
        for number in _CODE_PAGES:
            page = self.number(number)
            if 0 < page < 100_000:
                return {65001: "utf-8", 20127: "ascii", 28591: "cp1252"}.get(page, f"cp{page}")
        return ""

    def _stream(self, number: int, kind: str) -> bytes:
        return self._open(f"{_STREAM}{number:04X}{kind}")

    def _open(self, name: str) -> bytes:
        path = [*self._path, name]
        try:
            if not self._file.exists(path):
                return b""
            with self._file.openstream(path) as stream:
                return bytes(stream.read())
        except OSError:  # damaged
            return b""
