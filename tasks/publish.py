"""Ringing from a worker. A bell that cannot be rung is left to the sweep."""

from typing import Any

import structlog
from kombu.exceptions import OperationalError

from conversation.task_contract import (
    FILES_QUEUE,
    MAINTENANCE_QUEUE,
    PAYLOAD_VERSION,
    PREPARE_FILE,
    RUN_TURNS,
    SUMMARIZE_DUE,
    Bell,
)

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
    payload = {"v": PAYLOAD_VERSION, "tenant": tenant, "sha256": sha256}
    return _ask(PREPARE_FILE, payload, queue=FILES_QUEUE)


def ring_for_summaries(*, expires_seconds: float) -> bool:
    """Say that a thread is due for a summary; False if the broker is away: then beat finds the thread."""
    return _ask(SUMMARIZE_DUE, {"v": PAYLOAD_VERSION}, queue=MAINTENANCE_QUEUE, expires=expires_seconds)


def _ask(name: str, payload: dict[str, Any], **options: Any) -> bool:
    from tasks.app import app

    try:
        app.send_task(name, kwargs=payload, retry=False, **options)
    except OperationalError as error:
        _log.warning("not_rung", task=name, reason=type(error).__name__)
        return False
    return True


def waiting_bells(queue: str) -> int:
    """How many bells wait in the broker, over all priorities."""
    from tasks.app import app

    with app.connection_for_read() as connection, connection.channel() as channel:
        return int(channel.queue_declare(queue, passive=False, durable=True).message_count)
