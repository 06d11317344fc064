"""Signals through the broker's server: the ends of turns, and requests to cancel them.

What stays true: nothing depends on a signal. A waiter also polls the turn's row, and a cancel
request also comes with the next heartbeat; a signal only makes it sooner.
"""

import asyncio

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from conversation.task_contract import CANCEL_CHANNEL, turn_channel
from store.settings import Settings
from tasks.active_runs import ActiveRuns

#: Seconds before listening is tried again after the server went away.
LISTEN_AGAIN_SECONDS = 2.0

_log = structlog.get_logger(__name__)


class TurnSignals:
    """The signals of one worker process."""

    def __init__(self, settings: Settings, active_runs: ActiveRuns) -> None:
        self._url = settings.broker_url.get_secret_value()
        self._timeout = settings.notify_timeout_seconds
        self._active_runs = active_runs
        self._tasks: set[asyncio.Task[None]] = set()
        self._redis: Redis | None = None
        self._listener: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start listening for cancel requests. Only on the event loop, as all of this class."""
        self._redis = Redis.from_url(self._url, socket_connect_timeout=self._timeout)
        self._listener = asyncio.create_task(self._listen(self._redis))

    def publish_turn_ended(self, turn_id: str) -> None:
        """Publish that a turn has ended, which wakes its waiters."""
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
                        self._active_runs.cancel(signal["data"].decode())
            except (RedisError, OSError) as error:
                _log.debug("not_listening", reason=type(error).__name__)
            await asyncio.sleep(LISTEN_AGAIN_SECONDS)
