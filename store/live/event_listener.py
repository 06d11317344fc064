"""A follower's side of live events: one connection that listens to topics, whichever they are and however many.

What stays true: no failure of the server reaches a caller; a topic is confirmed each time that listening to it has
begun, also after the server was away, so that its rows are read again; workers are told which topics are
followed when that begins, every 20 seconds, and when a worker comes. Only on one event loop.
"""

import asyncio
import itertools
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import islice

import structlog
from redis.asyncio import Redis as AsyncRedis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from conversation.backoff import add_jitter, pauses
from conversation.logs import use_standard_logging
from store.live.event_channel import WATCH_AGAIN_SECONDS, WATCH_CHANNEL, WATCH_TOPICS_MAX, WATCHERS_CHANNEL, write_watch
from store.live.message_budget import MessageBudget
from store.settings import Settings

#: Seconds before the server is tried again, doubled up to the maximum.
LISTEN_AGAIN_SECONDS, LISTEN_AGAIN_MAX_SECONDS = 0.25, 5.0
#: Seconds between two announcements of all topics, however often workers ask.
ANNOUNCE_AGAIN_SECONDS = 0.2
#: Seconds between two questions whether the server is there, and of silence after which it is not.
PING_SECONDS, SILENCE_MAX_SECONDS = 10.0, 25.0
#: Messages of all topics that are heard in a second, and of one of them: a reply that is written has 35.
HEARD_PER_SECOND, HEARD_OF_TOPIC_PER_SECOND = 20_000, 500
#: Messages after which others get their turn on the loop.
HEARD_AT_ONCE = 100

_log = structlog.get_logger(__name__)


class EventListener:
    """The subscriptions of one event loop."""

    def __init__(
        self, settings: Settings, *, receive: Callable[[str, bytes], None], confirm: Callable[[str], None]
    ) -> None:
        """`receive` gets topics with what came on them, `confirm` topics that are listened to from now on."""
        use_standard_logging()
        self._url = settings.broker_url.get_secret_value()
        self._timeout_seconds = settings.notify_timeout_seconds
        self._receive = receive
        self._confirm = confirm
        self._topics: set[str] = set()
        #: What of each topic is heard.
        self._budgets: dict[str, MessageBudget] = {}
        self._confirmed: set[str] = set()
        #: Topics on which workers shall publish what is being written there.
        self._fresh: set[str] = set()
        #: When workers were last told all topics, by the monotonic clock.
        self._announced_at = 0.0
        #: A worker that came wants to know them.
        self._is_asked = False
        self._heard_at = 0.0
        self._change = asyncio.Event()
        self._listening: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None
        #: The server was tried, and was not there.
        self.is_away = False

    @property
    def is_connected(self) -> bool:
        """Whether the server was there a moment ago."""
        return bool(self._heard_at)

    def follow(self, topic: str) -> bool:
        """Listen to a topic; whether it is listened to already. Returns at once."""
        self._topics.add(topic)
        is_confirmed = topic in self._confirmed
        if is_confirmed:
            self._fresh.add(topic)
        if self._listening is None:
            self._listening = asyncio.create_task(self._listen(), name="threadmill-events")
        self._change.set()
        return is_confirmed

    def leave(self, topic: str) -> None:
        """Listen to a topic no more; to the server neither, where it was the last one."""
        self._topics.discard(topic)
        self._budgets.pop(topic, None)
        self._fresh.discard(topic)
        self._change.set()
        if not self._topics:
            self.close()

    def refresh(self, topic: str) -> None:
        """Ask the workers to publish what is being written in a thread."""
        if topic in self._confirmed:
            self._fresh.add(topic)
            self._change.set()

    def close(self) -> None:
        """Leave all topics. The connection is closed soon."""
        self._topics.clear()
        self._budgets.clear()
        self._forget_connection()
        if self._listening is not None:
            self._listening.cancel()
            self._listening, self._closing = None, self._listening

    async def wait_closed(self) -> None:
        """Wait for the connection to be closed, after `close`."""
        if self._closing is not None:
            await asyncio.wait({self._closing})

    async def _listen(self) -> None:
        waits = pauses(LISTEN_AGAIN_SECONDS, LISTEN_AGAIN_MAX_SECONDS)
        while True:
            try:
                await self._serve_connection()
            except Exception as error:  # noqa: BLE001 - whatever a broker's client raises: rows are polled
                _log.debug("events_not_received", reason=type(error).__name__)
            self.is_away = True
            if self.is_connected:
                waits = pauses(LISTEN_AGAIN_SECONDS, LISTEN_AGAIN_MAX_SECONDS)
            self._forget_connection()
            await asyncio.sleep(add_jitter(next(waits)))

    async def _serve_connection(self) -> None:
        """Listen on one connection, and announce on another, until one of them fails."""
        # No timeout of the socket: it would end the wait for the next message. No retries: they begin here.
        client = AsyncRedis.from_url(
            self._url, socket_connect_timeout=self._timeout_seconds, socket_timeout=None, retry=Retry(NoBackoff(), 0)
        )
        async with client, client.pubsub() as channels:
            async with asyncio.timeout(self._timeout_seconds):
                await channels.subscribe(WATCHERS_CHANNEL)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._read(channels))
                tasks.create_task(self._command(client, channels))

    async def _read(self, channels: PubSub) -> None:
        budget = MessageBudget(HEARD_PER_SECOND)
        for count in itertools.count():
            message = await channels.get_message(timeout=None)
            if count % HEARD_AT_ONCE == 0:
                await asyncio.sleep(0)
            if message is None:
                continue
            self._heard_at, self.is_away = time.monotonic(), False
            if message["type"] == "message":
                if not budget.take(message["data"]):
                    raise ConnectionError("more came than is heard")
                self._hear(message["channel"].decode(), message["data"])
            elif message["type"] == "subscribe":
                self._note_subscribed(message["channel"].decode())

    def _hear(self, topic: str, data: bytes) -> None:
        if topic == WATCHERS_CHANNEL:
            self._is_asked = True
            self._change.set()
        elif topic in self._topics and self._budgets.setdefault(topic, MessageBudget(HEARD_OF_TOPIC_PER_SECOND)).take():
            self._receive(topic, data)

    def _note_subscribed(self, topic: str) -> None:
        if topic in self._topics:
            self._confirmed.add(topic)
            self._fresh.add(topic)
            self._change.set()
            self._confirm(topic)

    async def _command(self, client: AsyncRedis, channels: PubSub) -> None:
        """Carry out what changed, and what is due."""
        asked: set[str] = set()
        self._announced_at = pinged_at = connected_at = time.monotonic()
        while True:
            self._change.clear()
            async with asyncio.timeout(self._timeout_seconds):
                await self._change_topics(channels, asked)
                await self._announce(client)
                now = time.monotonic()
                if now - pinged_at >= PING_SECONDS:
                    pinged_at = now
                    await channels.ping()
            if now - max(self._heard_at, connected_at) > SILENCE_MAX_SECONDS:
                raise TimeoutError("the server is silent")
            due_at = min(pinged_at + PING_SECONDS, self._announce_at())
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, due_at - now)):
                    await self._change.wait()

    async def _change_topics(self, channels: PubSub, asked: set[str]) -> None:
        """Subscribe and unsubscribe what changed: one command each, for any number of topics."""
        left, new = asked - self._topics, self._topics - asked
        asked.difference_update(left)
        asked.update(new)
        self._confirmed.difference_update(left)
        if left:
            await channels.unsubscribe(*left)
        if new:
            await channels.subscribe(*new)

    async def _announce(self, client: AsyncRedis) -> None:
        """Tell workers which topics are followed: those that are new, and now and then all of them."""
        fresh, self._fresh = self._fresh, set()
        await self._publish(client, fresh, is_fresh=True)
        now = time.monotonic()
        if now >= self._announce_at():
            self._announced_at, self._is_asked = now, False
            await self._publish(client, self._topics - fresh, is_fresh=False)

    def _announce_at(self) -> float:
        """When workers are told all topics again, by the monotonic clock."""
        return self._announced_at + (ANNOUNCE_AGAIN_SECONDS if self._is_asked else WATCH_AGAIN_SECONDS)

    async def _publish(self, client: AsyncRedis, topics: Iterable[str], *, is_fresh: bool) -> None:
        remaining = iter(sorted(topics))
        while chunk := list(islice(remaining, WATCH_TOPICS_MAX)):
            await client.publish(WATCH_CHANNEL, write_watch(chunk, is_fresh=is_fresh))

    def _forget_connection(self) -> None:
        self._heard_at = 0.0
        self._confirmed.clear()
        self._fresh.clear()
