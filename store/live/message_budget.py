"""A budget of messages: what a listener hears of a flood, before it stops listening for a moment.

What stays true: whoever can publish decides how much comes, and a listener how much of it costs anything.
"""

import time
from collections.abc import Callable

#: Bytes of a message that cost as much as another message.
BYTES_OF_ONE = 32_768


class MessageBudget:
    """So many messages a second, and as many at once; long ones count for several."""

    def __init__(self, per_second: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_second
        self._clock = clock
        self._left = float(per_second)
        self._filled_at = clock()

    def take(self, message: bytes = b"") -> bool:
        """Count a message; False where it is one too many."""
        now = self._clock()
        self._left = min(self._per_second, self._left + (now - self._filled_at) * self._per_second)
        self._filled_at = now
        self._left -= 1 + len(message) // BYTES_OF_ONE
        return self._left >= 0
