"""Signals through the broker's Valkey: ends of turns for their waiters, cancel requests for workers.

What stays true: nothing depends on a signal, so none of its failures reaches a caller. A waiter also polls
its turn's row, and a cancel request also comes with the next heartbeat; a signal only makes it sooner. Anybody may send
one, and as many as they like: each has its receiver look at a row at most, and a flood not once for each.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TypedDict

import structlog
from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from redis.exceptions import RedisError

from conversation.logs import use_standard_logging
from conversation.task_contract import CANCEL_CHANNEL, turn_channel
from store.live.direct_signals import WAKE_AGAIN_SECONDS
from store.live.event_channel import WATCH_CHANNEL, WATCHERS_CHANNEL
from store.live.message_budget import MessageBudget
from store.live.publications import Publications
from store.settings import Settings

#: Seconds before a worker listens again after the server went away.
LISTEN_AGAIN_SECONDS = 2.0
#: Signals that a worker hears in a second; behind them it is deaf until it listens again.
HEARD_PER_SECOND = 2_000
#: Bytes of a turn's id, and more: what is longer is none.
TURN_ID_BYTES = 64
#: What a server that is away, slow or closing raises. `TimeoutError` is an `OSError`.
_SERVER_FAILURES = (RedisError, OSError)

_log = structlog.get_logger(__name__)


class _Timeouts(TypedDict):
    socket_connect_timeout: float
    socket_timeout: float


class Signals:
    """The signals of a process that waits or cancels, by redis-py: each call connects for itself.

    For a broker whose address only redis-py knows; see `DirectSignals` for others.
    """

    def __init__(self, settings: Settings) -> None:
        use_standard_logging()
        self._url = settings.broker_url.get_secret_value()
        self._timeout = settings.notify_timeout_seconds

    def publish(self, channel: str, text: str) -> None:
        """Publish one signal, if the server takes it in time."""
        try:
            with Redis.from_url(self._url, **self._timeouts()) as client:
                client.publish(channel, text)
        except _SERVER_FAILURES as error:
            _log_unpublished(error)

    async def publish_async(self, channel: str, text: str) -> None:
        """As `publish`, on the event loop."""
        async with AsyncRedis.from_url(self._url, **self._timeouts()) as client:
            try:
                async with asyncio.timeout(self._timeout):
                    await client.publish(channel, text)
            except _SERVER_FAILURES as error:
                _log_unpublished(error)

    @contextmanager
    def subscribe(self, channel: str, *, within_seconds: float) -> Iterator[Callable[[float], None]]:
        """As `DirectSignals.subscribe`; no connection is open before the first wait."""
        with (
            Redis.from_url(self._url, **self._timeouts(within_seconds)) as client,
            client.pubsub(ignore_subscribe_messages=True) as listener,
        ):
            #: None before the first wait.
            is_subscribed: bool | None = None
            awoken_at = float("-inf")

            def wait(seconds: float) -> None:
                nonlocal is_subscribed, awoken_at
                started = time.monotonic()
                pause = max(0.0, min(seconds, awoken_at + WAKE_AGAIN_SECONDS - started))
                time.sleep(pause)
                try:
                    if is_subscribed is None:
                        is_subscribed = False
                        listener.subscribe(channel)
                        is_subscribed = True
                    if is_subscribed and listener.get_message(timeout=seconds - pause) is not None:
                        awoken_at = time.monotonic()
                        return
                except _SERVER_FAILURES:
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
            #: None before the first wait.
            is_subscribed: bool | None = None
            awoken_at = float("-inf")

            async def wait(seconds: float) -> None:
                nonlocal is_subscribed, awoken_at
                started = time.monotonic()
                pause = min(seconds, max(0.0, awoken_at + WAKE_AGAIN_SECONDS - started))
                await asyncio.sleep(pause)
                try:
                    if is_subscribed is None:
                        is_subscribed = False
                        await listener.subscribe(channel)
                        is_subscribed = True
                    if is_subscribed and await listener.get_message(timeout=seconds - pause) is not None:
                        awoken_at = time.monotonic()
                        return
                except _SERVER_FAILURES:
                    is_subscribed = False
                if not is_subscribed:
                    await asyncio.sleep(max(0.0, seconds - (time.monotonic() - started)))

            yield wait

    def close(self) -> None:
        """Nothing is open."""

    def _timeouts(self, within_seconds: float = float("inf")) -> _Timeouts:
        # Zero would mean not to wait at all, and fail at once.
        seconds = max(0.01, min(self._timeout, within_seconds))
        return {"socket_connect_timeout": seconds, "socket_timeout": seconds}


class WorkerSignals:
    """The signals of a process that publishes and listens all the time: one client on its event loop."""

    def __init__(
        self, settings: Settings, cancel: Callable[[str], None], hear_watch: Callable[[bytes], None] = lambda _: None
    ) -> None:
        """`cancel` is called with what came as the id of a turn whose cancel is requested, on the event loop.

        So is `hear_watch`, with each announcement of those who follow threads. Neither may raise.
        """
        self._url = settings.broker_url.get_secret_value()
        self._timeout = settings.notify_timeout_seconds
        self._cancel = cancel
        self._hear_watch = hear_watch
        self._publications = Publications(self._url, timeout_seconds=self._timeout)
        self._client: AsyncRedis | None = None
        self._listener: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start listening for cancel requests and followers. Only on the event loop, as all of this class."""
        # No timeout of the socket: it would end the wait for the next signal.
        self._client = AsyncRedis.from_url(self._url, socket_connect_timeout=self._timeout)
        self._listener = asyncio.create_task(self._listen(self._client))

    def publish_turn_ended(self, turn_id: str) -> None:
        """Publish that a turn has ended, which wakes its waiters. Returns at once."""
        self.publish(turn_channel(turn_id), "ended")

    def publish(self, channel: str, text: str) -> None:
        """Publish a text. Returns at once."""
        self._publications.publish(channel, text)

    async def stop(self) -> None:
        """Let signals that are on their way go out, then close."""
        if self._listener is not None:
            self._listener.cancel()
        await self._publications.stop()
        if self._client is not None:
            await self._client.aclose()

    async def _listen(self, client: AsyncRedis) -> None:
        while True:
            try:
                await self._listen_once(client)
            except Exception as error:  # noqa: BLE001 - whatever came or broke: a worker goes on listening
                _log.debug("signals_not_received", reason=type(error).__name__)
            await asyncio.sleep(LISTEN_AGAIN_SECONDS)

    async def _listen_once(self, client: AsyncRedis) -> None:
        """Listen until the server goes away, or sends more than a worker hears."""
        budget = MessageBudget(HEARD_PER_SECOND)
        async with client.pubsub(ignore_subscribe_messages=True) as listener:
            await listener.subscribe(CANCEL_CHANNEL, WATCH_CHANNEL)
            # Who follows what was said while nobody listened here.
            self.publish(WATCHERS_CHANNEL, "")
            async for signal in listener.listen():
                if not budget.take(signal["data"]):
                    _log.warning("signals_flooded", deaf_seconds=LISTEN_AGAIN_SECONDS)
                    return
                self._hear(signal["channel"], signal["data"])
                # What has come already would hold the turns of this loop up until it is read.
                await asyncio.sleep(0)

    def _hear(self, channel: bytes, data: bytes) -> None:
        if channel == WATCH_CHANNEL.encode():
            self._hear_watch(data)
        else:
            # What is no turn's id names no run here, whatever its bytes.
            self._cancel(data[:TURN_ID_BYTES].decode(errors="replace"))


def _log_unpublished(error: Exception) -> None:
    _log.debug("signal_not_published", reason=type(error).__name__)
