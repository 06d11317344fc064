"""Full collections of garbage in a worker, at moments when they hold up little.

What stays true: garbage is a bounded part of what a worker holds, and none of it is older than a minute or so. Python
itself would look at every object once a quarter as many have outlived their youth, whatever became of them: with
thousands of turns that wait, half a second in which nothing moves, again and again, to find nothing. Here it looks
when what is held has grown by half, when nothing begins or ends for a moment, and once a minute where neither comes.
"""

import asyncio
import gc
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

#: Seconds between two times that it is asked whether a collection is due.
ASK_SECONDS = 1.0
#: The growth of what is held since the last collection, in blocks of Python's allocator, which brings the next one.
GROWTH = 1.5
#: Seconds after a collection until the next quiet moment is used, and until none is waited for any longer.
QUIET_SECONDS, BUSY_SECONDS = 10.0, 60.0
#: Collections of the middle generation before Python makes a full one by itself: none, as far as it counts.
NEVER = 2**31 - 1


@dataclass(slots=True)
class FullCollections:
    """The full collections of one process. Only on the event loop, after `start`."""

    #: A count that moves with each turn that begins or ends here.
    count_changes: Callable[[], int]
    collect: Callable[[], object] = gc.collect
    count_blocks: Callable[[], int] = sys.getallocatedblocks
    clock: Callable[[], float] = time.monotonic
    _collected_at: float = field(init=False, default=0.0)
    _blocks: int = field(init=False, default=0)
    #: The count at the last collection, and when it was asked last.
    _changes: int = field(init=False, default=0)
    _asked_changes: int = field(init=False, default=0)
    _own_threshold: tuple[int, int, int] | None = field(init=False, default=None)
    _timer: asyncio.TimerHandle | None = field(init=False, default=None)

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take full collections over from Python, once all is loaded: that stays, and no collection looks at it."""
        gc.freeze()
        self._own_threshold = gc.get_threshold()
        gc.set_threshold(*self._own_threshold[:2], NEVER)
        self.note_collected()
        loop.call_soon_threadsafe(self._ask_later, loop)

    def stop(self) -> None:
        """Give them back to Python."""
        if self._timer is not None:
            self._timer.cancel()
        if self._own_threshold is not None:
            gc.set_threshold(*self._own_threshold)

    def note_collected(self) -> None:
        """Note that a collection has been made."""
        self._collected_at, self._blocks = self.clock(), self.count_blocks()
        self._changes = self._asked_changes = self.count_changes()

    def collect_if_due(self) -> bool:
        """Make a collection if one is due; returns whether it was."""
        changes = self.count_changes()
        is_quiet, self._asked_changes = changes == self._asked_changes, changes
        seconds = self.clock() - self._collected_at
        has_worked = changes != self._changes
        is_time = has_worked and seconds >= (QUIET_SECONDS if is_quiet else BUSY_SECONDS)
        if not is_time and self.count_blocks() < self._blocks * GROWTH:
            return False
        self.collect()
        self.note_collected()
        return True

    def _ask_later(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = loop.call_later(ASK_SECONDS, self._ask, loop)

    def _ask(self, loop: asyncio.AbstractEventLoop) -> None:
        self.collect_if_due()
        self._ask_later(loop)
