"""The state of circuit breakers in the broker's Valkey, which all workers share.

What stays true: a server that is away is asked again after some seconds only, and waited for briefly. What is
written here is a hint: it expires, and whoever misses it comes to the same by a failure of its own.
"""

import re
import time
from collections.abc import Awaitable
from typing import Any, TypeVar

from redis.asyncio import Redis as AsyncRedis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from store.settings import Settings

T = TypeVar("T")
_STATE = re.compile(rb"[a-z_]{0,40}")

#: Before each key.
PREFIX = "threadmill:breaker:"
#: Seconds for which a state is remembered that nobody writes again.
STATE_SECONDS = 24 * 3600
#: Seconds for which a server is not asked that did not answer.
AWAY_SECONDS = 5.0


class ValkeyBreakerBoard:
    """The breakers' state, as a worker reads and writes it on its event loop."""

    def __init__(self, settings: Settings) -> None:
        seconds = settings.notify_timeout_seconds
        url = settings.broker_url.get_secret_value()
        # Nothing is connected yet. Once more at once: the server may have closed what was unused.
        once_more = Retry(NoBackoff(), 1)
        self._client = AsyncRedis.from_url(url, socket_timeout=seconds, socket_connect_timeout=seconds, retry=once_more)
        self._away_until = 0.0

    async def read(self, key: str) -> str | None:
        """The state that was written last; None where nothing is known."""
        state: Any = await self._call(self._client.get(PREFIX + key))
        # It becomes a word of turns and logs: what is no kind of error is nothing that a breaker wrote.
        return state.decode() if state is not None and _STATE.fullmatch(state) else None

    async def write(self, key: str, state: str) -> None:
        """Tell the other workers a breaker's state."""
        await self._call(self._client.set(PREFIX + key, state, ex=STATE_SECONDS))

    async def take_probe(self, key: str, *, seconds: float) -> bool:
        """Whether the caller may probe now: one may, over all workers, and the next one after so many seconds."""
        taken = self._client.set(_probe_name(key), 1, nx=True, px=_milliseconds(seconds))
        return bool(await self._call(taken))

    async def delay_probe(self, key: str, *, seconds: float) -> None:
        """Let nobody probe for so many seconds."""
        await self._call(self._client.set(_probe_name(key), 1, px=_milliseconds(seconds)))

    async def close(self) -> None:
        """Close the connection, if one was opened."""
        await self._client.aclose()

    async def _call(self, command: Awaitable[T]) -> T:
        if time.monotonic() < self._away_until:
            command.close()  # type: ignore[attr-defined]  # a coroutine
            raise ConnectionError("the broker did not answer a moment ago")
        try:
            return await command
        except (RedisError, OSError) as error:
            self._away_until = time.monotonic() + AWAY_SECONDS
            raise ConnectionError(f"the broker is away: {type(error).__name__}") from None


def _probe_name(key: str) -> str:
    return f"{PREFIX}{key}:probe"


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))
