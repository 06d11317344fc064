"""Signals through the broker's server: turns that ended, and turns that somebody wants to stop.

What stays true: nothing depends on a signal. Who waits for a turn also polls its row, and a cancel
request also comes with the next heartbeat; a signal only makes it sooner.
"""

import asyncio

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from conversation.task_contract import CANCEL_CHANNEL, turn_channel
from store.settings import Settings
from tasks.active_runs import Running

#: Seconds before listening is tried again after the server went away.
LISTEN_AGAIN_SECONDS = 2.0

_log = structlog.get_logger(__name__)


class Announcer:
    """The signals of one worker process."""

    def __init__(self, settings: Settings, running: Running) -> None:
        self._url = settings.broker_url.get_secret_value()
        self._timeout = settings.ring_timeout
        self._running = running
        self._tasks: set[asyncio.Task[None]] = set()
        self._redis: Redis | None = None
        self._listener: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to listen for cancel requests. Only on the event loop, as all of this class."""
        self._redis = Redis.from_url(self._url, socket_connect_timeout=self._timeout)
        self._listener = asyncio.create_task(self._listen(self._redis))

    def turn_ended(self, turn_id: str) -> None:
        """Wake whoever waits for this turn."""
        if self._redis is not None:
            task = asyncio.create_task(self._publish(self._redis, turn_channel(turn_id)))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """Let signals that are on their way go out, then close."""
        if self._listener is not None:
            self._listener.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self._timeout)
        if self._redis is not None:
            await self._redis.aclose()

    async def _publish(self, redis: Redis, channel: str) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                await redis.publish(channel, "ended")
        except (RedisError, OSError, TimeoutError) as error:
            _log.debug("signal_not_sent", reason=type(error).__name__)

    async def _listen(self, redis: Redis) -> None:
        while True:
            try:
                async with redis.pubsub(ignore_subscribe_messages=True) as channel:
                    await channel.subscribe(CANCEL_CHANNEL)
                    async for signal in channel.listen():
                        self._running.cancel(signal["data"].decode())
            except (RedisError, OSError) as error:
                _log.debug("not_listening", reason=type(error).__name__)
            await asyncio.sleep(LISTEN_AGAIN_SECONDS)
