"""How many lines may be written: so many at once, and then so many a second, for each turn and each logger.

What stays true: what was left out is counted, and told with the next line; what is remembered has a bound.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

#: Turns and loggers that are remembered: one that is forgotten begins anew.
KEYS_MAX = 1_000
#: Lines of one turn, or one logger, that are written at once: more than any turn of ours writes.
BURST = 1_000
#: Lines that come free each second after that.
PER_SECOND = 50.0


@dataclass(slots=True)
class _Account:
    lines: float
    counted_at: float
    left_out: int = 0


class LineBudget:
    """The lines that may be written, by key."""

    def __init__(
        self, burst: int = BURST, per_second: float = PER_SECOND, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._burst, self._per_second, self._clock = burst, per_second, clock
        self._accounts: OrderedDict[str, _Account] = OrderedDict()
        self._lock = threading.Lock()

    def admit(self, key: str) -> int | None:
        """The number of lines that were left out since the last one; None where this one is left out, too."""
        now = self._clock()
        with self._lock:
            account = self._accounts.setdefault(key, _Account(self._burst, now))
            self._accounts.move_to_end(key)
            if len(self._accounts) > KEYS_MAX:
                self._accounts.popitem(last=False)
            account.lines = min(self._burst, account.lines + (now - account.counted_at) * self._per_second)
            account.counted_at = now
            if account.lines < 1:
                account.left_out += 1
                return None
            account.lines -= 1
            left_out, account.left_out = account.left_out, 0
            return left_out
