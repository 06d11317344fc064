"""The heartbeat of a process that runs no turns: it reads files, or does what beat asks for.

What stays true: Celery's own loop beats, without a thread, since the process may fork; so a consumer that hangs, or
has lost its broker, falls silent, in `workers` as in its file. Nothing that it does needs the row: it holds no lease.
"""

import os
import socket
from collections.abc import Collection
from functools import partial
from typing import Any

import structlog

from conversation.errors import DatabaseUnavailable
from conversation.ids import new_id
from conversation.task_contract import FILES_QUEUE
from store.database.engine import Database
from store.settings import Settings
from store.turns import workers
from tasks.exhaustion import ExhaustionWatch, replacement
from tasks.heartbeat import create_alive_file, limit_to_one_connection, make_alive_file

_log = structlog.get_logger(__name__)
_heartbeats: list["ConsumerHeartbeat"] = []


class ConsumerHeartbeat:
    """The row and the file of one process."""

    def __init__(self, settings: Settings, queues: Collection[str], *, places: int = 0) -> None:
        self._worker = new_id()
        lease_duration_seconds = settings.lease_duration_seconds
        self._interval_seconds = lease_duration_seconds / 3
        self._database = Database(limit_to_one_connection(settings))
        self._exhaustion_watch = ExhaustionWatch()
        self._alive_file = make_alive_file(self._worker, settings, queues)
        self._register = partial(
            workers.register,
            worker=self._worker,
            host=socket.gethostname(),
            pid=os.getpid(),
            serves={},
            queues=queues,
            file_places=places if FILES_QUEUE in queues else 0,
            lease_duration_seconds=lease_duration_seconds,
        )

    def start(self, timer: Any) -> None:
        """Begin to beat; `timer` is that of Celery's loop. The database may be away."""
        create_alive_file(self._alive_file, self._worker)
        self.beat()
        timer.call_repeatedly(self._interval_seconds, self.beat)
        _log.info("consumer_started", worker=self._worker)

    def beat(self) -> None:
        """Say that the process consumes. Its row is entered anew where it was forgotten."""
        self._alive_file.touch()
        try:
            self._database.run(self._register)
        except DatabaseUnavailable as error:
            _log.warning("heartbeat_missed", worker=self._worker, reason=str(error))
        if (missing := self._exhaustion_watch.look()) is not None:
            replacement.begin(missing)

    def stop(self) -> None:
        """Delete the row and the file."""
        self._alive_file.remove()
        try:
            self._database.run(workers.unregister, worker=self._worker)
        except DatabaseUnavailable:
            _log.warning("worker_not_signed_off", worker=self._worker)
        self._database.close()


def start_consumer_heartbeat(settings: Settings, queues: Collection[str], timer: Any, *, places: int = 0) -> None:
    """Start the heartbeat of this process, unless it has one, or a database that no other process can read.

    `places` is the number of tasks that it runs at once.
    """
    if _heartbeats or settings.database_url.get_secret_value().startswith("sqlite"):
        return
    heartbeat = ConsumerHeartbeat(settings, queues, places=places)
    _heartbeats.append(heartbeat)
    heartbeat.start(timer)


def stop_consumer_heartbeat() -> None:
    """Stop the heartbeat of this process, if it has one."""
    while _heartbeats:
        _heartbeats.pop().stop()
