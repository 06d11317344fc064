"""The pace of calls to Slack: its limits are counted per workspace and method, and for posts per channel.

What stays true: between two calls of one pace lies its interval, and the time that Slack asked for, whoever calls;
who waits longest goes first, after those that are urgent.
"""

import asyncio
import heapq
from itertools import count

#: Paces that are remembered, at most, while nobody waits in them.
PACES_MAX = 4096


class Pace:
    """The calls of one limit, one after the other. Only on one event loop."""

    def __init__(self, interval_seconds: float) -> None:
        self._interval_seconds = interval_seconds
        self._next_at = float("-inf")
        self._waiting: list[tuple[bool, int, asyncio.Future[None]]] = []
        self._numbers = count()
        self._timer: asyncio.TimerHandle | None = None

    async def take(self, *, is_urgent: bool = False) -> None:
        """Wait until the next call may be made; it is the caller's."""
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (not is_urgent, next(self._numbers), place))
        self._grant()
        await place

    def pause(self, seconds: float) -> None:
        """Let no call be made for so many seconds."""
        self._next_at = max(self._next_at, asyncio.get_running_loop().time() + seconds)

    @property
    def is_idle(self) -> bool:
        """Whether it has nothing to remember."""
        return not self._waiting and self._next_at <= asyncio.get_running_loop().time()

    def _grant(self) -> None:
        """Give the next place away, or come back when it is due."""
        loop = asyncio.get_running_loop()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting and self._waiting[0][2].done():
            heapq.heappop(self._waiting)
        if not self._waiting:
            return
        if self._next_at <= loop.time():
            self._next_at = loop.time() + self._interval_seconds
            heapq.heappop(self._waiting)[2].set_result(None)
        self._timer = loop.call_at(self._next_at, self._grant)


class Paces:
    """The paces of a process, by what Slack counts."""

    def __init__(self) -> None:
        self._paces: dict[tuple[str, ...], Pace] = {}

    def find(self, key: tuple[str, ...], interval_seconds: float) -> Pace:
        """The pace of a key; a new one where there is none."""
        pace = self._paces.get(key)
        if pace is None:
            if len(self._paces) >= PACES_MAX:
                self._paces = {name: each for name, each in self._paces.items() if not each.is_idle}
            pace = self._paces[key] = Pace(interval_seconds)
        return pace
