"""Celery's consumer as our workers run it: with a listener of ours for remote control, and deaf to other workers.

What stays true: `worker_consumer` in our configuration names it, so that no command line brings back what is left
out. Gossip and mingle hear what other workers say, and believe it; nothing of ours needs them. Task events go out
several together: one publication for each costs more than all else that Celery does for a turn.
"""

from time import monotonic
from typing import Any

from celery.worker import consumer, state

#: A step of Celery's, and what runs in its place: its control obeys whoever can publish. Only a step that no other one
#: requires can be replaced: Celery adds those that are required, so that both would run, in either order.
OWN_STEPS = {"celery.worker.consumer.control:Control": "tasks.control.listener:Control"}
#: Seconds for which a task event waits for others, and how many wait at most: a person looks at them.
GATHER_SECONDS, GATHERED_MAX = 0.25, 200


class WorkerConsumer(consumer.Consumer):  # type: ignore[misc]  # celery ships no types
    """The consumer of a worker."""

    class Blueprint(consumer.Consumer.Blueprint):  # type: ignore[misc]  # as above
        """The steps of a consumer."""

        default_steps = tuple(OWN_STEPS.get(step, step) for step in consumer.Consumer.Blueprint.default_steps)

    def __init__(self, *arguments: Any, worker_options: dict[str, Any] | None = None, **options: Any) -> None:
        alone = {"without_gossip": True, "without_mingle": True}
        super().__init__(*arguments, worker_options={**(worker_options or {}), **alone}, **options)
        #: When the events that wait go out, by the monotonic clock.
        self._flush_at = 0.0

    def on_ready(self) -> None:
        """Let events gather, and as many messages be taken together as can be begun with: with each connection."""
        if self.event_dispatcher:
            self.event_dispatcher.buffer_limit = GATHERED_MAX
        self.task_consumer.channel.count_free_places = lambda: self.pool.num_processes - len(state.reserved_requests)
        super().on_ready()

    def connect(self) -> Any:
        """Connect to the broker, and send what gathered since the last connection was lost: its way is closed next."""
        connection = super().connect()
        self._flush_events()
        return connection

    def shutdown(self) -> None:
        """Close what is open, when all tasks have ended."""
        self._flush_events()
        super().shutdown()

    def on_send_event_buffered(self) -> None:
        """Have an event go out with those that come in the next moment, where Celery publishes it at once."""
        now = monotonic()
        # A timer that was lost with a connection is set again by the first event after its time.
        if self.hub and now >= self._flush_at:
            self._flush_at = now + GATHER_SECONDS
            self.hub.call_later(GATHER_SECONDS, self._flush_events)
