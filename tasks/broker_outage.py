"""Bells that a worker has taken from the broker and not begun with, when their connection ends.

What stays true: a worker outlives its broker. kombu puts such bells back when it closes a channel, and
acknowledges one when it is begun with, be its channel open or not. With the broker away both fail in ways
that Celery does not take for a lost connection: the process would end, and most likely where it is needed
most, since only a busy worker has bells in hand. A bell that cannot be put back is lost, as any bell may
be: the sweep rings again. One that was put back and begun with as well is rung twice, which does no harm.
"""

from typing import Any

import structlog
from kombu.transport.redis import Channel, QoS

_log = structlog.get_logger(__name__)


class ForgivingQoS(QoS):
    """Puts bells back, and acknowledges them, where it can."""

    def ack(self, delivery_tag: str) -> None:
        if not self.channel.closed:
            super().ack(delivery_tag)  # type: ignore[no-untyped-call]  # kombu ships no types

    def restore_unacked(self, client: Any = None) -> None:
        try:
            super().restore_unacked(client)  # type: ignore[no-untyped-call]  # kombu ships no types
        except Exception as error:  # noqa: BLE001 - a connection that is half gone raises anything
            _log.warning("bells_not_put_back", bells=len(self._delivered), error=type(error).__name__)
            self._delivered.clear()


def outlive_the_broker() -> None:
    """Let the channels of this process close without a broker."""
    Channel.QoS = ForgivingQoS
