"""Publications of a worker, as ends of turns and live events: out at once, and never a reason to fail.

What stays true: what comes in the same moment, or while other texts are on their way, goes out together, in one round
trip and in its order. No failure reaches a caller; what waits for a slow server is bounded, and the rest is lost.
"""

import asyncio

import structlog
from redis.asyncio import Redis as AsyncRedis
from redis.exceptions import RedisError

from store.live.broker_address import read_address
from store.live.broker_connection import BrokerConnection, BrokerRefusal

#: Texts that wait for a slow server, and their characters, at most: whom a further one would reach, polls.
WAITING_MAX, WAITING_MAX_CHARS = 10_000, 32_000_000

_log = structlog.get_logger(__name__)


class Publications:
    """The publications of one process. Only on its event loop."""

    def __init__(self, url: str, *, timeout_seconds: float) -> None:
        """`timeout_seconds` bounds each wait for the server."""
        self._url = url
        self._address = read_address(url)
        self._timeout_seconds = timeout_seconds
        #: Channels and texts that are not on their way yet.
        self._waiting: list[tuple[str, str]] = []
        self._waiting_chars = 0
        self._publishing: asyncio.Task[None] | None = None
        self._connection: BrokerConnection | None = None

    def publish(self, channel: str, text: str) -> None:
        """Publish a text. Returns at once."""
        if len(self._waiting) >= WAITING_MAX or self._waiting_chars + len(text) > WAITING_MAX_CHARS:
            return
        self._waiting.append((channel, text))
        self._waiting_chars += len(text)
        if self._publishing is None or self._publishing.done():
            self._publishing = asyncio.create_task(self._publish_all())

    async def stop(self) -> None:
        """Let what is on its way go out, then close."""
        if self._publishing is not None:
            await asyncio.wait({self._publishing}, timeout=self._timeout_seconds)
            self._publishing.cancel()
        self._close()

    async def _publish_all(self) -> None:
        while self._waiting:
            waiting, self._waiting, self._waiting_chars = self._waiting, [], 0
            try:
                await self._publish([("PUBLISH", channel, text) for channel, text in waiting])
            except (BrokerRefusal, RedisError, OSError) as error:
                self._close()
                _log.debug("signal_not_published", reason=type(error).__name__)

    async def _publish(self, commands: list[tuple[str, ...]]) -> None:
        if self._address is None:
            await self._publish_with_client(commands)
            return
        if self._connection is None or not self._connection.is_usable():
            self._close()
            self._connection = await asyncio.to_thread(
                BrokerConnection, self._address, timeout_seconds=self._timeout_seconds
            )
        await self._connection.call_async(*commands)

    async def _publish_with_client(self, commands: list[tuple[str, ...]]) -> None:
        """Publish to a server that only redis-py can reach."""
        async with (
            asyncio.timeout(self._timeout_seconds),
            AsyncRedis.from_url(self._url) as client,
            client.pipeline(transaction=False) as pipeline,
        ):
            for command in commands:
                pipeline.execute_command(*command)
            await pipeline.execute()

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
