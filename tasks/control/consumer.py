"""Celery's consumer as our workers run it: with a listener of ours for remote control, and deaf to other workers.

What stays true: `worker_consumer` in our configuration names it, so that no command line brings back what is left
out. Gossip and mingle hear what other workers say, and believe it; nothing of ours needs them.
"""

from typing import Any

from celery.worker import consumer

#: Celery's step that obeys whoever can publish.
CONTROL = "celery.worker.consumer.control:Control"


class WorkerConsumer(consumer.Consumer):  # type: ignore[misc]  # celery ships no types
    """The consumer of a worker."""

    class Blueprint(consumer.Consumer.Blueprint):  # type: ignore[misc]  # as above
        """The steps of a consumer."""

        default_steps = tuple(
            "tasks.control.listener:Control" if step == CONTROL else step
            for step in consumer.Consumer.Blueprint.default_steps
        )

    def __init__(self, *arguments: Any, worker_options: dict[str, Any] | None = None, **options: Any) -> None:
        alone = {"without_gossip": True, "without_mingle": True}
        super().__init__(*arguments, worker_options={**(worker_options or {}), **alone}, **options)
