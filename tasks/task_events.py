"""Task events of Celery that are sent by us: what Flower shows of turns, and of ticks that found something.

What stays true: a process that nobody watches builds no event. An event goes out on a thread of Celery's, never
on the loop of the turns, and one that cannot be sent is no error of the task that it tells of.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import structlog

_log = structlog.get_logger(__name__)


class TaskEvents:
    """The way of task events out of this process: Celery's own dispatcher, whichever it has at the moment."""

    def __init__(self) -> None:
        self._consumer: Any = None
        #: A process that is forked from it may not use its connection.
        self._pid = 0
        self._sender: ThreadPoolExecutor | None = None

    def connect(self, consumer: Any) -> None:
        """Send by the dispatcher of Celery's consumer: it makes a new one with each connection to the broker."""
        self._consumer, self._pid = consumer, os.getpid()

    @property
    def are_wanted(self) -> bool:
        """Whether this process sends task events: as it is configured, which nobody changes through the broker."""
        dispatcher = self._dispatcher
        if dispatcher is None or not dispatcher.enabled:
            return False
        return not dispatcher.groups or "task" in dispatcher.groups

    def send(self, kind: str, uuid: str, **fields: Any) -> None:
        """Send one event, `task-` before its kind. Only on a thread of Celery's."""
        dispatcher = self._dispatcher
        if dispatcher is None:
            return
        try:
            dispatcher.send(f"task-{kind}", uuid=uuid, **fields)
        except Exception as error:  # noqa: BLE001 - whatever becomes of it, the task is what it is
            _log.debug("task_event_not_sent", kind=kind, error=type(error).__name__)

    def post(self, work: Callable[[], object]) -> None:
        """Have a thread of Celery's do something before long, in the order of the calls. Only on the loop."""
        post = getattr(self._consumer.pool, "post", None)
        if post is not None:
            post(work)
            return
        if self._sender is None:
            # A pool without a thread that could be told.
            self._sender = ThreadPoolExecutor(1, thread_name_prefix="task-events")
        self._sender.submit(work)

    def close(self) -> None:
        """Let what is on its way go out."""
        if self._sender is not None:
            self._sender.shutdown()

    @property
    def _dispatcher(self) -> Any:
        return getattr(self._consumer, "event_dispatcher", None) if self._pid == os.getpid() else None


#: The way of this process, whose tasks are functions and find it here.
task_events = TaskEvents()
