"""Signals of a process that waits for turns or cancels them, over connections that stay open.

What stays true: nothing depends on a signal, so none of its failures reaches a caller, as in `store.live.signals`.
Each waiter has a connection for itself while it waits; sync and async ones take them from the same few.
"""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Self

import structlog

from conversation.logs import use_standard_logging
from store.live.broker_address import BrokerAddress, read_address
from store.live.broker_connection import BrokerConnection, BrokerRefusal
from store.live.broker_connections import BrokerConnections
from store.live.channel_connection import ChannelConnection
from store.settings import Settings

#: Seconds between two signals that wake a waiter: those that come meanwhile are one.
WAKE_AGAIN_SECONDS = 0.25

#: Seconds in which a server confirms a channel on a connection that was kept, at most: it may have died without a word.
KEPT_ANSWER_SECONDS = 0.25

#: What a server that is away, slow, closing or unwilling raises. `TimeoutError` is an `OSError`.
_SERVER_FAILURES = (BrokerRefusal, OSError)

_log = structlog.get_logger(__name__)


class DirectSignals:
    """Signals without redis-py."""

    def __init__(self, address: BrokerAddress, *, timeout_seconds: float) -> None:
        """`timeout_seconds` bounds each wait for the server: to connect, to log in, to answer."""
        use_standard_logging()
        self._publishers = BrokerConnections(BrokerConnection, address, timeout_seconds=timeout_seconds)
        self._listeners = BrokerConnections(ChannelConnection, address, timeout_seconds=timeout_seconds)
        self._timeout_seconds = timeout_seconds

    @classmethod
    def open(cls, settings: Settings) -> Self | None:
        """The signals of a process; None where redis-py is needed. Nothing is connected yet.

        It knows further kinds of addresses, and checks certificates where the address does not say whether to.
        """
        address = read_address(settings.broker_url.get_secret_value())
        if address is None or (address.tls is not None and address.tls.certificate_check is ssl.CERT_NONE):
            return None
        return cls(address, timeout_seconds=settings.notify_timeout_seconds)

    def publish(self, channel: str, text: str) -> None:
        """Publish one signal, if the server takes it in time."""
        try:
            if (kept := self._publishers.take()) is not None:
                # It may have died since, without a word.
                with suppress(*_SERVER_FAILURES), self._publishers.use(kept) as connection:
                    connection.call(("PUBLISH", channel, text))
                    return
            with self._publishers.use(self._publishers.open()) as connection:
                connection.call(("PUBLISH", channel, text))
        except _SERVER_FAILURES as error:
            _log_unpublished(error)

    async def publish_async(self, channel: str, text: str) -> None:
        """As `publish`, on the event loop."""
        try:
            if (kept := self._publishers.take()) is not None:
                with suppress(*_SERVER_FAILURES), self._publishers.use(kept) as connection:
                    await connection.call_async(("PUBLISH", channel, text))
                    return
            with self._publishers.use(await self._publishers.open_async()) as connection:
                await connection.call_async(("PUBLISH", channel, text))
        except _SERVER_FAILURES as error:
            _log_unpublished(error)

    @contextmanager
    def subscribe(self, channel: str, *, within_seconds: float) -> Iterator[Callable[[float], None]]:
        """Listen to a channel; gives a function that waits so many seconds for a signal, at most.

        What is published from now on is a signal, where a connection is open. Where none is, the first wait opens
        one, and returns once it listens. A server that has not answered `within_seconds` is not listened to.
        """
        listening = _Listening(self._listeners)
        to_answer_seconds = self._limit_answers(within_seconds)
        with listening.try_kept() as kept:
            if kept is not None:
                kept.listen(channel, within_seconds=min(to_answer_seconds(), KEPT_ANSWER_SECONDS))

        def wait(seconds: float) -> None:
            give_up_at = time.monotonic() + seconds
            if listening.is_untried:
                with listening.give_up_on_failure():
                    listening.connection = self._listeners.open(within_seconds=to_answer_seconds())
                    listening.connection.listen(channel, within_seconds=to_answer_seconds())
                    return
            time.sleep(max(0.0, min(seconds, listening.pause_seconds())))
            if listening.connection is not None:
                with listening.give_up_on_failure():
                    if listening.connection.hear(give_up_at - time.monotonic()):
                        listening.note_signal()
                    return
            time.sleep(max(0.0, give_up_at - time.monotonic()))

        try:
            yield wait
        finally:
            listening.end()

    @asynccontextmanager
    async def subscribe_async(
        self, channel: str, *, within_seconds: float
    ) -> AsyncIterator[Callable[[float], Awaitable[None]]]:
        """As `subscribe`, on the event loop."""
        listening = _Listening(self._listeners)
        to_answer_seconds = self._limit_answers(within_seconds)

        async def wait(seconds: float) -> None:
            give_up_at = time.monotonic() + seconds
            if listening.is_untried:
                with listening.give_up_on_failure():
                    listening.connection = await self._listeners.open_async(within_seconds=to_answer_seconds())
                    await listening.connection.listen_async(channel, within_seconds=to_answer_seconds())
                    return
            await asyncio.sleep(min(seconds, listening.pause_seconds()))
            if listening.connection is not None:
                with listening.give_up_on_failure():
                    if await listening.connection.hear_async(give_up_at - time.monotonic()):
                        listening.note_signal()
                    return
            await asyncio.sleep(max(0.0, give_up_at - time.monotonic()))

        try:
            with listening.try_kept() as kept:
                if kept is not None:
                    within_answer_seconds = min(to_answer_seconds(), KEPT_ANSWER_SECONDS)
                    await kept.listen_async(channel, within_seconds=within_answer_seconds)
            yield wait
        finally:
            listening.end()

    def close(self) -> None:
        """Close the connections: at once those that nobody uses, the others when they are given back."""
        self._publishers.close()
        self._listeners.close()

    def _limit_answers(self, within_seconds: float) -> Callable[[], float]:
        """A function that tells how long the server has to answer from now on, at most, of so many seconds."""
        give_up_at = time.monotonic() + within_seconds
        # Zero would mean not to wait at all, and fail at once.
        return lambda: max(0.01, min(self._timeout_seconds, give_up_at - time.monotonic()))


class _Listening:
    """One who listens to a channel, by blocking or on an event loop."""

    def __init__(self, connections: BrokerConnections[ChannelConnection]) -> None:
        self._connections = connections
        #: None before it is tried, and once it failed.
        self.connection: ChannelConnection | None = None
        self._has_failed = False
        self._awoken_at = float("-inf")

    @property
    def is_untried(self) -> bool:
        """Whether no connection was there yet."""
        return self.connection is None and not self._has_failed

    @contextmanager
    def try_kept(self) -> Iterator[ChannelConnection | None]:
        """Take a connection that is open; where it fails, it is as if there had been none."""
        self.connection = self._connections.take()
        try:
            yield self.connection
        except _SERVER_FAILURES:
            assert self.connection is not None, "what is not there does not fail"
            self.connection.close()
            self.connection = None

    @contextmanager
    def give_up_on_failure(self) -> Iterator[None]:
        """Listen no more where the server fails."""
        try:
            yield
        except _SERVER_FAILURES:
            self._has_failed = True
            if self.connection is not None:
                # Alone: those that others keep are tried, and replaced, when they are taken.
                self.connection.close()
                self.connection = None

    def pause_seconds(self) -> float:
        """Seconds before a signal wakes again."""
        return max(0.0, self._awoken_at + WAKE_AGAIN_SECONDS - time.monotonic())

    def note_signal(self) -> None:
        """Note that a signal came now."""
        self._awoken_at = time.monotonic()

    def end(self) -> None:
        """Leave the channel, and give the connection back. Does not wait."""
        with self.give_up_on_failure():
            if self.connection is None:
                return
            if not self.connection.is_confirmed:
                # Cancelled before the server answered.
                self.connection.close()
                return
            self.connection.end()
            self._connections.give_back(self.connection)


def _log_unpublished(error: Exception) -> None:
    _log.debug("signal_not_published", reason=type(error).__name__)
