"""The Celery app as Flower runs it: `celery -A threadmill.flower_app flower`. It writes our log, and knows all queues.

What stays true: the page of the broker counts each queue, also one whose workers are all dead. By itself Flower
counts the queues of living workers: that nobody takes from one is when it has to be seen. It shows and changes nothing:
workers refuse what its buttons would ask. What it hears of them is checked: anybody may have published it.
"""

import flower.events
from flower.options import default_options
from flower.views import BaseHandler

from conversation.task_contract import FILES_QUEUE, MAINTENANCE_QUEUE, QUARANTINE_QUEUE, TURNS_QUEUE
from store.settings import current
from tasks import log_config
from tasks.app import app
from tasks.control.events import CheckedEventReceiver

__all__ = ["app"]

QUEUES = (TURNS_QUEUE, QUARANTINE_QUEUE, FILES_QUEUE, MAINTENANCE_QUEUE)


def _list_queues(handler: BaseHandler) -> list[str]:
    """The names of our queues, and of those that workers of other code take from."""
    active_queues = {
        queue["name"] for worker in handler.application.workers.values() for queue in worker.get("active_queues", [])
    }
    return [*QUEUES, *sorted(active_queues.difference(QUEUES))]


BaseHandler.get_active_queue_names = _list_queues
flower.events.EventReceiver = CheckedEventReceiver
default_options.read_only = True
# A command to all workers every five seconds, which they do not take: they send events as they are configured.
default_options.enable_events = False
# Before Flower looks: it adds a handler of its own where there is none.
log_config.configure(current())
