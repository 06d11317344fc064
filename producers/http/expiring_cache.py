"""A cache that is bounded in time and in number.

What stays true: an entry is gone when its seconds are over; of too many, the one that was used longest ago goes first.
"""

import time
from collections import OrderedDict
from typing import Generic, TypeVar

V = TypeVar("V")


class ExpiringCache(Generic[V]):
    """Values by a text, each for some seconds."""

    def __init__(self, max_entries: int) -> None:
        self._max_entries = max_entries
        self._entries: OrderedDict[str, tuple[float, V]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, name: str) -> V | None:
        """The value of a name; None where there is none, or none any more."""
        until, value = self._entries.get(name, (0.0, None))
        if value is None or until <= time.monotonic():
            self._entries.pop(name, None)
            return None
        self._entries.move_to_end(name)
        return value

    def put(self, name: str, value: V, *, seconds: float) -> None:
        """Keep a value for some seconds, in place of the one before."""
        self._entries[name] = (time.monotonic() + seconds, value)
        self._entries.move_to_end(name)
        if len(self._entries) > self._max_entries:
            self._entries.popitem(last=False)
