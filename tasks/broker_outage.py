"""Wake-ups that a worker has taken from the broker and not started, when their connection ends.

What stays true: a worker outlives its broker. kombu restores such wake-ups when it closes a channel, and
acknowledges one when it is started, be its channel open or not. With the broker away both fail in ways
that Celery does not take for a lost connection: the process would end, and most likely where it is needed
most, since only a busy worker holds wake-ups. A wake-up that cannot be restored is lost, as any may be: the
sweep publishes it again. One that was restored and started as well arrives twice, which does no harm.
"""

from typing import Any

import structlog
from kombu.transport.redis import Channel, QoS

_log = structlog.get_logger(__name__)


class OutageTolerantQoS(QoS):
    """Restores and acknowledges wake-ups where the broker can be reached."""

    def ack(self, delivery_tag: str) -> None:
        if not self.channel.closed:
            super().ack(delivery_tag)  # type: ignore[no-untyped-call]  # kombu ships no types

    def restore_unacked(self, client: Any = None) -> None:
        try:
            super().restore_unacked(client)  # type: ignore[no-untyped-call]  # kombu ships no types
        except Exception as error:  # noqa: BLE001 - a connection that is half gone raises anything
            _log.warning("wake_ups_not_restored", wake_ups=len(self._delivered), error=type(error).__name__)
            self._delivered.clear()


def survive_broker_outages() -> None:
    """Let the channels of this process close without a broker."""
    Channel.QoS = OutageTolerantQoS
