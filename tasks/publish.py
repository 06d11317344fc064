"""Publishing tasks from a worker. A wake-up that cannot be published is left to the sweep."""

from collections.abc import Mapping
from functools import cache

import structlog
from kombu.exceptions import KombuError
from kombu.pools import connections

from conversation.task_contract import (
    FILES_QUEUE,
    MAINTENANCE_QUEUE,
    PAYLOAD_VERSION,
    PREPARE_FILE,
    RUN_SUMMARIES_NOW,
    SEND_WEBHOOKS,
    WakeUp,
)
from store.live.broker_connection import BrokerRefusal
from store.live.direct_publisher import DirectPublisher
from store.live.wake_ups import CeleryPublisher, WakeUpPublisher, log_unpublished_wake_up
from store.settings import current
from tasks.celery_app import app

_log = structlog.get_logger(__name__)


def publish_wake_up(wake_up: WakeUp) -> bool:
    """Publish one wake-up; False if it cannot be: the broker is away, or its ids are none that can be sent."""
    try:
        _publisher().publish(wake_up)
    # Of a batch, one that cannot be published holds up no other.
    except (KombuError, BrokerRefusal, OSError, ValueError, TypeError) as error:
        log_unpublished_wake_up(wake_up, type(error).__name__)
        return False
    return True


@cache
def _publisher() -> WakeUpPublisher:
    """The process's way to publish wake-ups: one command of Redis, or this Celery app."""
    options = app.conf.broker_transport_options
    if not current().publish_with_celery:
        publisher = DirectPublisher.open(app.conf.broker_write_url, options, timeout_seconds=options["socket_timeout"])
        if publisher is not None:
            return publisher
    return CeleryPublisher(app)


def request_file(tenant: str, sha256: str) -> bool:
    """Ask for a file to be prepared; False if the broker is away."""
    payload: dict[str, int | str] = {"v": PAYLOAD_VERSION, "tenant": tenant, "sha256": sha256}
    return _publish_task(PREPARE_FILE, payload, queue=FILES_QUEUE)


def request_summaries(*, expires_seconds: float) -> bool:
    """Say that a thread is due for a summary; False if the broker is away: then beat finds the thread."""
    return _publish_task(RUN_SUMMARIES_NOW, {"v": PAYLOAD_VERSION}, queue=MAINTENANCE_QUEUE, expires=expires_seconds)


def request_webhooks(*, expires_seconds: float) -> bool:
    """Say that webhooks have something new to be told; False if the broker is away: then beat finds it."""
    return _publish_task(SEND_WEBHOOKS, {}, queue=MAINTENANCE_QUEUE, expires=expires_seconds)


def _publish_task(name: str, payload: Mapping[str, int | str], *, queue: str, expires: float | None = None) -> bool:
    try:
        app.send_task(name, kwargs=payload, queue=queue, expires=expires, retry=False)
    except KombuError as error:
        _log.warning("task_not_published", task=name, reason=type(error).__name__)
        return False
    return True


def count_queued_tasks(queue: str) -> int:
    """Count the tasks that wait in a queue of the broker, over all priorities."""
    # Over a connection that stays open: to open one takes ten times the processor time of the question.
    with connections[app.connection_for_read()].acquire(block=True) as connection:
        return int(connection.default_channel.queue_declare(queue, passive=False, durable=True).message_count)
