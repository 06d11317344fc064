"""Publishing of wake-ups, by producers and by workers.

What stays true: one attempt a call. Retries would hold a sender up for seconds, and a wake-up that is lost
is published again by the sweep.
"""

from collections.abc import Mapping
from typing import Protocol

from conversation.task_contract import RUN_TURNS, WakeUp


class TaskPublisher(Protocol):
    """A Celery app, as far as wake-ups need it. Celery itself is not imported: most senders never need it."""

    def send_task(
        self, name: str, *, kwargs: Mapping[str, int | str], queue: str, priority: int, retry: bool
    ) -> object:
        """Publish a task by its name."""
        ...


def publish_wake_up(app: TaskPublisher, wake_up: WakeUp) -> None:
    """Publish one wake-up. Raises whatever the broker's client raises."""
    app.send_task(
        RUN_TURNS, kwargs=wake_up.payload(), queue=wake_up.queue, priority=wake_up.broker_priority(), retry=False
    )


def log_unpublished_wake_up(wake_up: WakeUp, reason: str) -> None:
    """Log that the broker did not take a wake-up, and why."""
    # It imports colour drawing: a fifth of a second, for a line that is hardly ever written.
    import structlog

    from conversation.logs import use_standard_logging

    use_standard_logging()
    structlog.get_logger(__name__).warning("wake_up_not_published", turn=wake_up.turn_id, reason=reason)
