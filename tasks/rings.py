"""Ringing from a worker. A bell that cannot be rung is left to the sweep."""

import structlog
from kombu.exceptions import OperationalError

from conversation.bell import FILES_QUEUE, PAYLOAD_VERSION, PREPARE_FILE, RUN_TURNS, Bell

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


def ring_for_file(tenant: str, sha256: str) -> bool:
    """Ask for a file to be made ready; False if the broker is away."""
    from tasks.app import app

    try:
        app.send_task(
            PREPARE_FILE,
            kwargs={"v": PAYLOAD_VERSION, "tenant": tenant, "sha256": sha256},
            queue=FILES_QUEUE,
            retry=False,
        )
    except OperationalError as error:
        _log.warning("file_not_rung_for", sha256=sha256, reason=type(error).__name__)
        return False
    return True


def waiting_bells(queue: str) -> int:
    """How many bells wait in the broker, over all priorities."""
    from tasks.app import app

    with app.connection_for_read() as connection, connection.channel() as channel:
        return int(channel.queue_declare(queue, passive=False, durable=True).message_count)
