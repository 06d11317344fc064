"""The plain form of a tool's value: lists, dicts and leaves that pydantic shows, within bounds.

What stays true: a value is walked once and never further than its bounds, so that an endless iterator
ends, a circle ends, and a value that is too large is refused before it is encoded. What only looks like
a list is none: the columns of a DataFrame are not its content.
"""

import dataclasses
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, MappingView, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from agent.tools.produced_file import ProducedFile

#: Values in one result: more than a model could read, few enough to walk in a moment.
ITEMS_MAX = 100_000
#: Characters and bytes of one result before it is encoded.
SIZE_MAX = 8_000_000
#: Containers in containers: JSON that people write has about ten.
DEPTH_MAX = 100
#: Bits of an integer: JSON has no limit, but its readers do.
INTEGER_BITS_MAX = 1_024

_LEAVES = (type(None), bool, float)
_TEXTS = (str, bytes, bytearray, memoryview)
_LISTS = (list, tuple, set, frozenset, deque, range, Sequence, AbstractSet, MappingView)


class ValueTooLarge(Exception):
    """The value breaks a bound; the text says which."""


@dataclass(slots=True)
class PlainValue:
    """A walk through one value."""

    #: The files that were among it, in order.
    files: list[ProducedFile] = field(default_factory=list)
    _items: int = 0
    _size: int = 0

    def build(self, value: object, depth: int = 0) -> object:
        """Build the plain form of a value. Raises `ValueTooLarge`, and what the value's own code raises."""
        self._count_item(depth)
        kind = type(value)
        if kind in _LEAVES:
            return value
        if isinstance(value, _TEXTS):
            self._count_size(len(value))
            return value
        if isinstance(value, int):
            return self._check_integer(value)
        if isinstance(value, Mapping):
            return {key: self.build(item, depth + 1) for key, item in self._bound_pairs(value)}
        if isinstance(value, _LISTS):
            return [self.build(item, depth + 1) for item in self._bound(value)]
        return self._build_object(value, depth)

    def _build_object(self, value: Any, depth: int) -> object:
        if isinstance(value, ProducedFile):
            self.files.append(value)
            return value.describe()
        if isinstance(value, type):
            return value
        if isinstance(value, BaseModel) or hasattr(value, "__pydantic_serializer__"):
            extra_parts = getattr(value, "__pydantic_extra__", None) or {}
            self._check_parts([*vars(value).values(), *extra_parts.values()], depth)
        elif dataclasses.is_dataclass(value):
            return {one.name: self.build(getattr(value, one.name), depth + 1) for one in dataclasses.fields(value)}
        elif isinstance(value, Iterator):
            return [self.build(item, depth + 1) for item in value]
        elif (convert := _converter_of(value)) is not None:
            self._check_table(value)
            return self.build(convert(), depth + 1)
        # pydantic shows what is in it by itself, or says that it cannot.
        return value

    def _check_parts(self, parts: Iterable[object], depth: int) -> None:
        """Check the parts of an object that pydantic will walk by itself; it does not stop at an endless one."""
        files_count = len(self.files)
        for part in parts:
            if isinstance(part, Iterator):
                raise ValueTooLarge("an iterator inside of a model has no end that could be seen; make it a list")
            self.build(part, depth + 1)
        del self.files[files_count:]

    def _check_table(self, value: Any) -> None:
        """Check a table or an array by what it says of itself: to convert it costs more than to look at it."""
        shape = getattr(value, "shape", None)
        cells = math.prod(shape) if isinstance(shape, tuple) else 0
        if self._items + cells > ITEMS_MAX:
            raise ValueTooLarge(f"it has {cells} values, and {ITEMS_MAX} is the most")

    def _bound(self, values: Any) -> Iterable[object]:
        """The values of a list, refused before they are walked where they say that they are too many."""
        if len(values) + self._items > ITEMS_MAX:
            raise ValueTooLarge(f"it has {len(values)} values, and {ITEMS_MAX} is the most")
        items: Iterable[object] = values
        return items

    def _bound_pairs(self, mapping: Mapping[Any, object]) -> Iterable[tuple[Any, object]]:
        self._bound(mapping)
        for key, item in mapping.items():
            if isinstance(key, str):
                self._count_size(len(key))
            yield key, item

    def _check_integer(self, value: int) -> int:
        if value.bit_length() > INTEGER_BITS_MAX:
            raise ValueTooLarge(f"it has a number of {value.bit_length()} bits")
        return value

    def _count_item(self, depth: int) -> None:
        self._items += 1
        if self._items > ITEMS_MAX:
            raise ValueTooLarge(f"it has more than {ITEMS_MAX} values, or no end")
        if depth > DEPTH_MAX:
            raise ValueTooLarge(f"it is nested more than {DEPTH_MAX} deep, or holds itself")

    def _count_size(self, size: int) -> None:
        self._size += size
        if self._size > SIZE_MAX:
            raise ValueTooLarge(f"it has more than {SIZE_MAX} characters")


def _converter_of(value: Any) -> Callable[[], object] | None:
    """The method by which tables and arrays of libraries give their rows; None where a value has none."""
    if callable(getattr(value, "to_dicts", None)):  # polars
        return value.to_dicts  # type: ignore[no-any-return] # as all of these: foreign objects
    if callable(getattr(value, "to_pylist", None)):  # pyarrow
        return value.to_pylist  # type: ignore[no-any-return]
    if callable(getattr(value, "tolist", None)):  # numpy, pandas.Series
        return value.tolist  # type: ignore[no-any-return]
    if callable(getattr(value, "to_dict", None)) and hasattr(value, "columns"):  # pandas.DataFrame
        return lambda: value.to_dict(orient="records")
    return None
