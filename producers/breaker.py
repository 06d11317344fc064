"""A circuit breaker: after some failures in a row, nothing is tried for a while.

What stays true: an attempt holds no lock, so that threads publish beside each other, and are held up together
by a server that hangs, not one after the other. (The usual libraries hold their lock during the call.)
"""

import threading
import time


class Breaker:
    """Counts failures in a row, and lets one attempt a while through once there were too many."""

    def __init__(self, *, failures_to_open: int, open_seconds: float) -> None:
        self._failures_to_open = failures_to_open
        self._open_seconds = open_seconds
        self._lock = threading.Lock()
        self._failures = 0
        #: While it is open: when the next attempt may test whether the server is back.
        self._next_test_at = 0.0

    @property
    def is_closed(self) -> bool:
        """Whether attempts may be made freely."""
        return self._failures < self._failures_to_open

    def admit(self) -> bool:
        """Whether an attempt may be made now: always while closed, once in `open_seconds` while open."""
        if self.is_closed:
            return True
        with self._lock:
            now = time.monotonic()
            if now < self._next_test_at:
                return False
            # Whoever comes during a test waits for the next one.
            self._next_test_at = now + self._open_seconds
            return True

    def record_success(self) -> None:
        """Close it again."""
        # Without the lock: an attempt that just succeeded may close what others just opened.
        self._failures = 0

    def record_failure(self) -> None:
        """Count a failure; the last one that it takes opens the breaker."""
        with self._lock:
            self._failures += 1
            self._next_test_at = time.monotonic() + self._open_seconds
