"""Celery's hooks that start and stop our worker: before it consumes, on shutdown, after its last task."""

import os
import sys
import traceback
from typing import Any

from celery import signals
from celery.concurrency import prefork, thread

from conversation.errors import InvalidSettings, ThreadmillError
from conversation.task_contract import FILES_QUEUE, MAINTENANCE_QUEUE, QUARANTINE_QUEUE, TURNS_QUEUE
from store.settings import current, export_key_files
from tasks import core_files, log_config, notifications, output
from tasks.consumer_heartbeat import start_consumer_heartbeat, stop_consumer_heartbeat
from tasks.exhaustion import replacement
from tasks.task_events import task_events
from tasks.worker import current_worker, has_worker, start_worker

#: Options of Celery's worker that only processes of its own can honour, and where it keeps them.
PREFORK_OPTIONS = {
    "--max-tasks-per-child": "max_tasks_per_child",
    "--max-memory-per-child": "max_memory_per_child",
    "--autoscale": "autoscale",
    "--time-limit": "time_limit",
    "--soft-time-limit": "soft_time_limit",
}


def connect() -> None:
    """Connect the hooks. Celery keeps weak references, so they are functions of this module."""
    signals.setup_logging.connect(_on_logging)
    signals.celeryd_after_setup.connect(_on_setup)
    signals.worker_ready.connect(_on_ready)
    signals.worker_process_init.connect(_on_child)
    signals.worker_shutting_down.connect(_on_stopping)
    signals.worker_shutdown.connect(_on_stopped)


def _on_logging(**_: object) -> None:
    log_config.configure(current(), output.open_log())


def _on_setup(instance: Any, **_: object) -> None:
    core_files.forbid()
    queues = set(instance.app.amqp.queues.consume_from)
    try:
        export_key_files(os.environ)
    except InvalidSettings as error:
        sys.exit(f"the worker cannot start: {error}")
    if FILES_QUEUE in queues and not issubclass(instance.pool_cls, prefork.TaskPool):
        # No other pool can end a task at its time limit, and a file could take the whole worker down.
        sys.exit("the worker cannot start: files are read in processes; start it with -P prefork")
    if not queues & {TURNS_QUEUE, QUARANTINE_QUEUE}:
        return
    runs_quarantine = QUARANTINE_QUEUE in queues
    if runs_quarantine and (len(queues) > 1 or instance.concurrency != 1):
        # A turn that kills its process must be alone in it, or its neighbours would be quarantined, too.
        sys.exit(
            f"the worker cannot start: queue {QUARANTINE_QUEUE} needs a worker of its own that runs one turn "
            f"at a time; start it with -Q {QUARANTINE_QUEUE} -c 1"
        )
    if not issubclass(instance.pool_cls, thread.TaskPool):
        # Its event loop and its lease are in this process: a forked child would have neither.
        sys.exit("the worker cannot start: turns run in this process; start it with -P threads or -P custom")
    if ignored_options := [option for option, field in PREFORK_OPTIONS.items() if getattr(instance, field, None)]:
        sys.exit(
            f"the worker cannot start: {', '.join(ignored_options)} would have no effect, since turns run in this "
            "process; leave it out: the time of a turn is its agent's limit, and a worker is replaced by stopping it"
        )
    try:
        start_worker(current(), queues=queues, concurrency=instance.concurrency)
    except ThreadmillError as error:
        sys.exit(f"the worker cannot start: {error}")
    except Exception:  # noqa: BLE001 - whatever a user's module raises while it is imported
        # Celery logs what a signal's receiver raises, and goes on without us: it would take wake-ups
        # and run no turn.
        sys.exit(f"the worker cannot start:\n{traceback.format_exc()}")


def _on_child(**_: object) -> None:
    output.take_over(shows_output=current().show_output)


def _on_ready(sender: Any, **_: object) -> None:
    # What was to be told of the start stands where it always did; from here on code of agents runs.
    output.take_over(shows_output=current().show_output)
    task_events.connect(sender)
    queues = sender.app.amqp.queues.consume_from
    if MAINTENANCE_QUEUE in queues:
        notifications.start_listener(current())
    if not has_worker():
        start_consumer_heartbeat(current(), list(queues), sender.timer, places=sender.pool.num_processes)


def _on_stopping(**_: object) -> None:
    if has_worker():
        current_worker().begin_to_stop()


def _on_stopped(**_: object) -> None:
    try:
        if has_worker():
            current_worker().stop()
        task_events.close()
        notifications.stop_listener()
        stop_consumer_heartbeat()
    finally:
        if replacement.exit_status is not None:
            # At once: what was left behind, as threads that nobody ends, would hold up Python's own end.
            os._exit(replacement.exit_status)
