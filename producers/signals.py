"""Signals through the broker's server, for waiters. None of them is needed: rows are polled too."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import structlog
from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from redis.exceptions import RedisError

from conversation.logs import use_standard_logging
from store.settings import Settings

use_standard_logging()
_log = structlog.get_logger(__name__)


class Signals:
    """Publishes and hears signals; silent where the server is away."""

    def __init__(self, settings: Settings) -> None:
        self._url = settings.broker_url.get_secret_value()
        self._timeout = settings.notify_timeout_seconds

    def publish(self, channel: str, text: str) -> None:
        """Send one signal, if the server takes it in time."""
        try:
            with self._client() as client:
                client.publish(channel, text)
        except (RedisError, OSError) as error:
            _log.debug("signal_not_sent", reason=type(error).__name__)

    @contextmanager
    def subscribe(self, channel: str, *, within_seconds: float) -> Iterator[Callable[[float], None]]:
        """Listen to a channel; gives a function that waits so many seconds for a signal, at most.

        A server that has not answered `within_seconds` is not listened to.
        """
        with (
            self._client(within_seconds) as client,
            client.pubsub(ignore_subscribe_messages=True) as listener,
        ):
            is_subscribed = True
            try:
                listener.subscribe(channel)
            except (RedisError, OSError):
                is_subscribed = False

            def wait(seconds: float) -> None:
                nonlocal is_subscribed
                started = time.monotonic()
                try:
                    if is_subscribed and listener.get_message(timeout=seconds) is not None:
                        return
                except (RedisError, OSError):
                    is_subscribed = False
                if not is_subscribed:
                    time.sleep(max(0.0, seconds - (time.monotonic() - started)))

            yield wait

    @asynccontextmanager
    async def subscribe_async(
        self, channel: str, *, within_seconds: float
    ) -> AsyncIterator[Callable[[float], Awaitable[None]]]:
        """As `subscribe`, on the event loop."""
        client = AsyncRedis.from_url(self._url, **self._timeouts(within_seconds))
        async with client, client.pubsub(ignore_subscribe_messages=True) as listener:
            is_subscribed = True
            try:
                await listener.subscribe(channel)
            except (RedisError, OSError):
                is_subscribed = False

            async def wait(seconds: float) -> None:
                nonlocal is_subscribed
                started = time.monotonic()
                try:
                    if is_subscribed and await listener.get_message(timeout=seconds) is not None:
                        return
                except (RedisError, OSError):
                    is_subscribed = False
                if not is_subscribed:
                    await asyncio.sleep(max(0.0, seconds - (time.monotonic() - started)))

            yield wait

    def _client(self, within_seconds: float = float("inf")) -> Redis:
        return Redis.from_url(self._url, **self._timeouts(within_seconds))

    def _timeouts(self, within_seconds: float) -> dict[str, Any]:
        # Zero would mean not to wait at all, and fail at once.
        seconds = max(0.01, min(self._timeout, within_seconds))
        return {"socket_connect_timeout": seconds, "socket_timeout": seconds}
