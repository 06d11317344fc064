"""Publishing wake-ups by one push to a list, without Celery and kombu.

What stays true: what is not known here, in the broker's URL or in the transport's options, is left to Celery.
Any number of threads may publish at once, each on a connection of its own for that time. A connection that
failed is not used again, nor is any that was open beside it: they lead to the same server.
"""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

from conversation.task_contract import RUN_TURNS, WakeUp
from store.live.broker_address import BrokerAddress, read_address
from store.live.broker_connection import BrokerConnection
from store.live.task_messages import TaskMessages

#: Seconds for which a connection is kept unused: routers on the way forget it after minutes, without a word,
#: and the next publish would wait for its timeout.
IDLE_SECONDS_MAX = 60.0
#: Of kombu's transport options those that shape a message, and those that mean nothing to who only publishes.
KNOWN_OPTIONS = frozenset(
    [
        *("global_keyprefix", "sep", "priority_steps"),
        *("socket_timeout", "socket_connect_timeout", "socket_keepalive", "health_check_interval"),
        *("max_connections", "max_retries", "visibility_timeout"),
    ]
)


class DirectPublisher:
    """Publishes wake-ups on connections that stay open."""

    def __init__(self, address: BrokerAddress, transport_options: Mapping[str, Any], *, timeout_seconds: float) -> None:
        """`timeout_seconds` bounds each wait for the server: to connect, to log in, to take a wake-up."""
        self._address = address
        self._messages = TaskMessages(transport_options)
        self._timeout_seconds = timeout_seconds
        self._pid = os.getpid()
        #: Connections that nobody uses, and when each was used last. The freshest are at the end, and taken first.
        self._idle_connections: list[tuple[BrokerConnection, float]] = []
        self._is_closed = False

    @classmethod
    def open(cls, url: str, transport_options: Mapping[str, Any], *, timeout_seconds: float) -> Self | None:
        """A publisher for a broker's URL; None where only Celery can publish. Nothing is connected yet."""
        address = read_address(url)
        if address is None or not KNOWN_OPTIONS.issuperset(transport_options):
            return None
        return cls(address, transport_options, timeout_seconds=timeout_seconds)

    def connect(self) -> None:
        """Open a connection for the first wake-up. Raises as `BrokerConnection`."""
        self._give_back(self._open_connection())

    def publish(self, wake_up: WakeUp) -> bool:
        """Publish one wake-up, over a new connection if need be. Raises as `BrokerConnection`."""
        with self._use(self._take_connection() or self._open_connection()) as connection:
            connection.call(self._build_command(wake_up))
        return True

    def publish_at_once(self, wake_up: WakeUp) -> bool:
        """As `publish`, but only over an open connection: False, and nothing published, where there is none."""
        connection = self._take_connection()
        if connection is None:
            return False
        with self._use(connection):
            connection.call(self._build_command(wake_up))
        return True

    async def publish_at_once_async(self, wake_up: WakeUp) -> bool:
        """As `publish_at_once`, on the event loop."""
        connection = self._take_connection()
        if connection is None:
            return False
        with self._use(connection):
            await connection.call_async(self._build_command(wake_up))
        return True

    def close(self) -> None:
        """Close the connections: at once those that nobody uses, the others when they are given back."""
        self._is_closed = True
        self._drop_idle_connections()

    def _build_command(self, wake_up: WakeUp) -> tuple[str, str, str]:
        priority = wake_up.broker_priority()
        message = self._messages.build(RUN_TURNS, wake_up.payload(), queue=wake_up.queue, priority=priority)
        # Workers take what stands at the right end.
        push = "RPUSH" if wake_up.comes_first else "LPUSH"
        return push, self._messages.list_name(wake_up.queue, priority), message

    @contextmanager
    def _use(self, connection: BrokerConnection) -> Iterator[BrokerConnection]:
        try:
            yield connection
        except BaseException as error:
            # A cancelled wait as well: the reply would be taken for that of the next wake-up.
            connection.close()
            if isinstance(error, Exception):
                self._drop_idle_connections()
            raise
        self._give_back(connection)

    def _open_connection(self) -> BrokerConnection:
        return BrokerConnection(self._address, timeout_seconds=self._timeout_seconds)

    def _take_connection(self) -> BrokerConnection | None:
        """Take an open connection that the server has not closed; None if there is none."""
        if self._pid != os.getpid():
            # A forked child: these are its parent's.
            self._pid, self._idle_connections = os.getpid(), []
        while (idle := _pop(self._idle_connections)) is not None:
            connection, used_at = idle
            if time.monotonic() - used_at <= IDLE_SECONDS_MAX and connection.is_usable():
                return connection
            connection.close()
        return None

    def _give_back(self, connection: BrokerConnection) -> None:
        self._idle_connections.append((connection, time.monotonic()))
        if self._is_closed:
            self._drop_idle_connections()

    def _drop_idle_connections(self) -> None:
        while (idle := _pop(self._idle_connections)) is not None:
            connection, _ = idle
            connection.close()


def _pop(connections: list[tuple[BrokerConnection, float]]) -> tuple[BrokerConnection, float] | None:
    """The last of a list that other threads use as well; None if it is empty."""
    try:
        return connections.pop()
    except IndexError:
        return None
