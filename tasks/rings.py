"""Ringing from a worker. A bell that cannot be rung is left to the sweep."""

import structlog
from kombu.exceptions import OperationalError

from conversation.bell import MAINTENANCE_QUEUE, PAYLOAD_VERSION, RUN_TURNS, SUMMARIZE_DUE, Bell

_log = structlog.get_logger(__name__)


def ring(bell: Bell) -> bool:
    """Publish one bell; False if the broker is away."""
    from tasks.app import app

    try:
        app.send_task(
            RUN_TURNS,
            kwargs=bell.payload(),
            queue=bell.queue,
            priority=bell.broker_priority(),
            retry=False,
        )
    except OperationalError as error:
        _log.warning("bell_not_rung", turn=bell.turn_id, reason=type(error).__name__)
        return False
    return True


def ring_for_summaries(*, expires_seconds: float) -> bool:
    """Say that a thread is due for a summary; False if the broker is away: then beat finds the thread."""
    from tasks.app import app

    payload = {"v": PAYLOAD_VERSION}
    try:
        app.send_task(
            SUMMARIZE_DUE, kwargs=payload, queue=MAINTENANCE_QUEUE, expires=expires_seconds, retry=False
        )
    except OperationalError as error:
        _log.warning("summary_bell_not_rung", reason=type(error).__name__)
        return False
    return True


def waiting_bells(queue: str) -> int:
    """How many bells wait in the broker, over all priorities."""
    from tasks.app import app

    with app.connection_for_read() as connection, connection.channel() as channel:
        return int(channel.queue_declare(queue, passive=False, durable=True).message_count)
