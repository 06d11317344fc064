"""The streams that a gateway holds open: how many there may be, and how all of them end at once.

What stays true: a stream that is refused was not begun, and its answer says when to come again; once the gateway
drains, each stream has been told to end and none begins.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from producers.http.problems import Problem
from producers.http.stop_signals import stop_signals
from store.settings import Settings

#: Seconds after which a stream that found no place may be asked for again.
RETRY_AFTER_SECONDS = 5
#: The same while this process stops: another may take it at once.
RETRY_AFTER_STOP_SECONDS = 1


class OpenStreams:
    """The open streams of one gateway. Only on its event loop, but for `hear_stop`."""

    def __init__(self) -> None:
        self.is_draining = False
        #: Of each stream, what is done when it has to end.
        self._ends: set[asyncio.Future[None]] = set()
        self._count_of: Counter[str] = Counter()
        self._loop: asyncio.AbstractEventLoop | None = None

    def __len__(self) -> int:
        return len(self._ends)

    @contextmanager
    def hold(self, settings: Settings, credential: str | None) -> Iterator[asyncio.Future[None]]:
        """Count one stream for as long as it is open; gives what is done when it has to end.

        Without a credential no limit holds: the stream was promised before. Raises `Problem` 429 or 503.
        """
        self._loop = asyncio.get_running_loop()
        stop_signals.listen(self)
        self._check(settings, credential)
        end: asyncio.Future[None] = self._loop.create_future()
        self._ends.add(end)
        if credential:
            self._count_of[credential] += 1
        try:
            yield end
        finally:
            self._ends.discard(end)
            if credential:
                self._release(credential)

    def drain(self) -> None:
        """End all streams, and let none begin."""
        self.is_draining = True
        for end in self._ends:
            if not end.done():
                end.set_result(None)

    def resume(self) -> None:
        """Let streams begin again, after the app was stopped and started."""
        self.is_draining = False

    def hear_stop(self) -> None:
        """Drain: the process is asked to stop."""
        self.is_draining = True
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.drain)

    def _check(self, settings: Settings, credential: str | None) -> None:
        if self.is_draining:
            raise _refusal(503, "the gateway stops", RETRY_AFTER_STOP_SECONDS)
        if credential is None:
            return
        if 0 < settings.gateway_max_streams_per_credential <= self._count_of[credential]:
            raise _refusal(429, "this credential has as many open streams as it may", RETRY_AFTER_SECONDS)
        if 0 < settings.gateway_max_streams <= len(self._ends):
            raise _refusal(503, "the gateway has as many open streams as it may", RETRY_AFTER_SECONDS)

    def _release(self, credential: str) -> None:
        self._count_of[credential] -= 1
        if not self._count_of[credential]:
            del self._count_of[credential]


def _refusal(status: int, detail: str, retry_after_seconds: int) -> Problem:
    title = "Too Many Requests" if status == 429 else "Service Unavailable"
    return Problem(status, title, detail, headers={"Retry-After": str(retry_after_seconds)}, retryable=True)
