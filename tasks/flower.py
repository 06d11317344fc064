"""The Celery app as Flower runs it: `celery -A threadmill.flower_app flower`. It writes our log, and knows all queues.

What stays true: the page of the broker counts each queue, also one whose workers are all dead. By itself Flower
counts the queues of living workers: that nobody takes from one is when it has to be seen.
"""

from flower.views import BaseHandler

from conversation.task_contract import FILES_QUEUE, MAINTENANCE_QUEUE, QUARANTINE_QUEUE, TURNS_QUEUE
from store.settings import current
from tasks import log_config
from tasks.app import app

__all__ = ["app"]

QUEUES = (TURNS_QUEUE, QUARANTINE_QUEUE, FILES_QUEUE, MAINTENANCE_QUEUE)


def _list_queues(handler: BaseHandler) -> list[str]:
    """The names of our queues, and of those that workers of other code take from."""
    active_queues = {
        queue["name"] for worker in handler.application.workers.values() for queue in worker.get("active_queues", [])
    }
    return [*QUEUES, *sorted(active_queues.difference(QUEUES))]


BaseHandler.get_active_queue_names = _list_queues
# Before Flower looks: it adds a handler of its own where there is none.
log_config.configure(current())
