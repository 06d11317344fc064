"""A window as a claim holds it: a sequence of messages, which makes them as they are looked at.

What stays true: they are the messages that their rows say, each time. A turn waits for its model for longer than it
does anything else, and needs no message meanwhile: of a short text, a message takes twice the memory of the text. So
the texts stay as they are, since the request to the model shares them, and all else of the rows is one piece of bytes.
"""

import marshal
from collections.abc import Iterator, Mapping, Sequence
from itertools import repeat
from typing import Any, overload

from conversation.attachment import Attachment
from conversation.message import Message
from store.history.message_rows import ROW_COLUMNS, build_from_columns, fold_columns, read_columns

_CONTENT = ROW_COLUMNS.index("content")
_NO_FILES: Mapping[str, Sequence[Attachment]] = {}


class StoredWindow(Sequence[Message]):
    """The messages of rows out of JSON, by `ROW_COLUMNS`."""

    __slots__ = ("_contents", "_files", "_others")

    def __init__(self, rows: Sequence[Sequence[Any]], files: Mapping[str, Sequence[Attachment]] = _NO_FILES) -> None:
        """`files` go by message id. Raises what building one of the messages would."""
        columns = fold_columns(rows)
        read_columns(len(rows), columns)
        self._contents = tuple(row[_CONTENT] for row in rows)
        columns[_CONTENT] = None
        self._others = marshal.dumps(columns)
        self._files = files or _NO_FILES

    def __len__(self) -> int:
        return len(self._contents)

    def __iter__(self) -> Iterator[Message]:
        return iter(build_from_columns(len(self), self._columns(), self._files))

    @overload
    def __getitem__(self, index: int) -> Message: ...
    @overload
    def __getitem__(self, index: slice) -> "StoredWindow": ...
    def __getitem__(self, index: int | slice) -> "Message | StoredWindow":
        columns = self._columns()
        if isinstance(index, slice):
            whole = (column if isinstance(column, tuple) else repeat(column) for column in columns)
            return StoredWindow(list(zip(*whole, strict=False))[index], self._files)
        one = [(column[index],) if isinstance(column, tuple) else column for column in columns]
        return build_from_columns(1, one, self._files)[0]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    __hash__ = None  # type: ignore[assignment]  # its messages have none

    def _columns(self) -> list[Any]:
        columns: list[Any] = marshal.loads(self._others)  # noqa: S302 - what this process wrote
        columns[_CONTENT] = self._contents
        return columns
