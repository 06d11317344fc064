"""Publishing of wake-ups, by producers and by workers.

What stays true: one attempt a call. Retries would hold a sender up for seconds, and a wake-up that is lost
is published again by the sweep.
"""

from collections.abc import Mapping
from typing import Protocol

from conversation.task_contract import RUN_TURNS, WakeUp


class WakeUpPublisher(Protocol):
    """The road of wake-ups to the broker."""

    def connect(self) -> None:
        """Prepare for the first wake-up. Raises whatever the broker's client raises."""
        ...

    def publish(self, wake_up: WakeUp) -> bool:
        """Publish one wake-up; True. Raises whatever the broker's client raises."""
        ...

    def publish_at_once(self, wake_up: WakeUp) -> bool:
        """As `publish`, if nothing has to be connected or imported for it; else False, and nothing is published."""
        ...

    async def publish_at_once_async(self, wake_up: WakeUp) -> bool:
        """As `publish_at_once`, on the event loop."""
        ...

    def close(self) -> None:
        """Close what is open."""
        ...


class TaskPublisher(Protocol):
    """A Celery app, as far as wake-ups need it. Celery itself is not imported: most senders never need it."""

    def send_task(
        self, name: str, *, kwargs: Mapping[str, int | str], queue: str, priority: int, retry: bool
    ) -> object:
        """Publish a task by its name."""
        ...


class CeleryPublisher:
    """Publishes wake-ups through a Celery app, which has connections of its own."""

    def __init__(self, app: TaskPublisher) -> None:
        self._app = app

    def connect(self) -> None:
        """Nothing: kombu connects with the first publish."""

    def publish(self, wake_up: WakeUp) -> bool:
        """Publish one wake-up; True. Raises whatever the broker's client raises."""
        self._app.send_task(
            RUN_TURNS, kwargs=wake_up.payload(), queue=wake_up.queue, priority=wake_up.broker_priority(), retry=False
        )
        return True

    def publish_at_once(self, wake_up: WakeUp) -> bool:
        """Never: whether kombu would connect cannot be known before."""
        del wake_up
        return False

    async def publish_at_once_async(self, wake_up: WakeUp) -> bool:
        """Never."""
        return self.publish_at_once(wake_up)

    def close(self) -> None:
        """Nothing: kombu's connections end with the process."""


def log_unpublished_wake_up(wake_up: WakeUp, reason: str) -> None:
    """Log that the broker did not take a wake-up, and why."""
    # It imports colour drawing: a fifth of a second, for a line that is hardly ever written.
    import structlog

    from conversation.logs import use_standard_logging

    use_standard_logging()
    ids = {"tenant": wake_up.tenant, "thread": wake_up.thread_id, "turn": wake_up.turn_id}
    structlog.get_logger(__name__).warning("wake_up_not_published", reason=reason, **ids)
