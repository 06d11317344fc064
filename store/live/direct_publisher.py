"""Publishing wake-ups by one push to a list, without Celery and kombu.

What stays true: what is not known here, in the broker's URL or in the transport's options, is left to Celery.
Any number of threads may publish at once, each on a connection of its own for that time.
"""

from collections.abc import Mapping
from typing import Any, Self

from conversation.task_contract import RUN_TURNS, WakeUp
from store.live.broker_address import BrokerAddress, read_address
from store.live.broker_connection import BrokerConnection
from store.live.broker_connections import BrokerConnections
from store.live.task_messages import TaskMessages

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
        self._messages = TaskMessages(transport_options)
        self._connections = BrokerConnections(BrokerConnection, address, timeout_seconds=timeout_seconds)

    @classmethod
    def open(cls, url: str, transport_options: Mapping[str, Any], *, timeout_seconds: float) -> Self | None:
        """A publisher for a broker's URL; None where only Celery can publish. Nothing is connected yet."""
        address = read_address(url)
        if address is None or not KNOWN_OPTIONS.issuperset(transport_options):
            return None
        return cls(address, transport_options, timeout_seconds=timeout_seconds)

    def connect(self) -> None:
        """Open a connection for the first wake-up. Raises as `BrokerConnection`."""
        self._connections.give_back(self._connections.open())

    def publish(self, wake_up: WakeUp) -> bool:
        """Publish one wake-up, over a new connection if need be. Raises as `BrokerConnection`."""
        with self._connections.use(self._connections.take() or self._connections.open()) as connection:
            connection.call(self._build_command(wake_up))
        return True

    def publish_at_once(self, wake_up: WakeUp) -> bool:
        """As `publish`, but only over an open connection: False, and nothing published, where there is none."""
        connection = self._connections.take()
        if connection is None:
            return False
        with self._connections.use(connection):
            connection.call(self._build_command(wake_up))
        return True

    async def publish_at_once_async(self, wake_up: WakeUp) -> bool:
        """As `publish_at_once`, on the event loop."""
        connection = self._connections.take()
        if connection is None:
            return False
        with self._connections.use(connection):
            await connection.call_async(self._build_command(wake_up))
        return True

    def close(self) -> None:
        """Close the connections: at once those that nobody uses, the others when they are given back."""
        self._connections.close()

    def _build_command(self, wake_up: WakeUp) -> tuple[str, str, str]:
        priority = wake_up.broker_priority()
        message = self._messages.build(RUN_TURNS, wake_up.payload(), queue=wake_up.queue, priority=priority)
        # Workers take what stands at the right end.
        push = "RPUSH" if wake_up.comes_first else "LPUSH"
        return push, self._messages.list_name(wake_up.queue, priority), message
