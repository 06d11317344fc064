"""Announcements of ended turns, by which their waiters wake up sooner than they would look again.

What stays true: an end goes out at once; what ends in the same moment, or while others are on their way, goes
out together, in one round trip. No failure reaches a caller.
"""

import asyncio

import structlog
from redis.asyncio import Redis as AsyncRedis
from redis.exceptions import RedisError

from conversation.task_contract import turn_channel
from store.live.broker_address import read_address
from store.live.broker_connection import BrokerConnection, BrokerRefusal

#: Ends that wait for a slow server, at most: the waiters of further ones poll.
WAITING_ENDS_MAX = 10_000

_log = structlog.get_logger(__name__)


class TurnEnds:
    """The announcements of one process. Only on its event loop."""

    def __init__(self, url: str, *, timeout_seconds: float) -> None:
        """`timeout_seconds` bounds each wait for the server."""
        self._url = url
        self._address = read_address(url)
        self._timeout_seconds = timeout_seconds
        #: Turns whose end nobody was told yet.
        self._turn_ids: list[str] = []
        self._announcing: asyncio.Task[None] | None = None
        self._connection: BrokerConnection | None = None

    def announce(self, turn_id: str) -> None:
        """Tell the waiters of a turn that it has ended. Returns at once."""
        if len(self._turn_ids) >= WAITING_ENDS_MAX:
            return
        self._turn_ids.append(turn_id)
        if self._announcing is None or self._announcing.done():
            self._announcing = asyncio.create_task(self._announce_all())

    async def stop(self) -> None:
        """Let what is on its way go out, then close."""
        if self._announcing is not None:
            await asyncio.wait({self._announcing}, timeout=self._timeout_seconds)
            self._announcing.cancel()
        self._close()

    async def _announce_all(self) -> None:
        while self._turn_ids:
            turn_ids, self._turn_ids = self._turn_ids, []
            try:
                await self._publish([("PUBLISH", turn_channel(turn_id), "ended") for turn_id in turn_ids])
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
