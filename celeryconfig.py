"""Celery's configuration: data, with a reason beside every line that is not obvious."""

from datetime import timedelta

from conversation.task_contract import (
    FILES_QUEUE,
    MAINTENANCE_QUEUE,
    PERIODIC_TASKS,
    PREPARE_FILE,
    PRIORITY_MAX,
    RUN_SUMMARIES_NOW,
    RUN_TURNS,
    TURNS_QUEUE,
)
from store.settings import current

_settings = current()

# --- The broker carries wake-ups, nothing that must not be lost ------------------------------------
broker_url = _settings.broker_url.get_secret_value()
# Wake-ups are published without Celery, as these say; an option that is not known there gives them back to Celery.
broker_transport_options = {
    # The default, None, lets a publish hang for ever on a server that stopped answering.
    "socket_timeout": 10,
    "socket_connect_timeout": 5,
    "socket_keepalive": True,
    "health_check_interval": 25,
    # kombu's own 10 are too few for a hundred threads that publish.
    "max_connections": 200,
    # One list a priority: kombu's own four would throw 1, 2 and 3 together.
    "priority_steps": list(range(PRIORITY_MAX + 1)),
}
# A worker outlives a broker that is away: it tries again for ever, and the sweep publishes what was missed.
broker_connection_retry_on_startup = True
broker_connection_max_retries = None
# A broker that refuses a command (its disk is full, it is a replica for a while) is tried again as well.
broker_channel_error_retry = True
# The turn's lease decides who runs it. A lost broker is no reason to stop a model call.
worker_cancel_long_running_tasks_on_connection_loss = False

# kombu would keep what expires by scripts in the broker, which no user of ours may run. Answers expire by themselves.
control_queue_expires = None
event_queue_expires = None

# --- What is sent: names that we chose, ids and a version, JSON ------------------------------------
task_serializer = "json"
accept_content = ["json"]
task_default_queue = TURNS_QUEUE
# A wake-up is acknowledged by being taken: two round trips fewer for each turn, and the sweep publishes a lost one.
# Named alone: what stands here is what a worker without -Q consumes. As data: senders read this, and import no Celery.
task_queues = {TURNS_QUEUE: {"exchange": TURNS_QUEUE, "no_ack": True}}
task_routes = {
    RUN_TURNS: {"queue": TURNS_QUEUE},
    PREPARE_FILE: {"queue": FILES_QUEUE},
    # Sent by workers between two ticks; the same work as a periodic task.
    RUN_SUMMARIES_NOW: {"queue": MAINTENANCE_QUEUE},
    **{periodic.task: {"queue": periodic.queue} for periodic in PERIODIC_TASKS.values()},
}
# Nothing else is imported by naming it in a message.
imports = ("tasks.turns", "tasks.files", "tasks.maintenance")

# --- No result backend: the turn's row in Postgres is the result -----------------------------------
task_ignore_result = True
task_store_errors_even_if_ignored = False

# --- How tasks are taken ---------------------------------------------------------------------------
# Early: recovery comes from the lease, in seconds, not from the broker's visibility timeout.
task_acks_late = False
# What waits in a worker's memory cannot be taken by an idle one: it takes no wake-up beyond its concurrency.
worker_disable_prefetch = True
worker_prefetch_multiplier = 1
# No pool here: Celery would not let the worker of files have another one. Turns refuse all but `threads` and `custom`.
worker_concurrency = _settings.worker_concurrency

# --- Whom a worker obeys ---------------------------------------------------------------------------
# Nobody: Celery's own remote control does what anybody at the broker says. Ours answers what Flower's views read.
worker_consumer = "tasks.control.consumer:WorkerConsumer"

# --- What Flower sees ------------------------------------------------------------------------------
worker_send_task_events = True
# A second event for each task would add nothing.
task_send_sent_event = False
# Arguments are ids: this is enough to show all of them.
task_argsrepr_maxsize = 512
worker_hijack_root_logger = False

# --- Beat only ticks: what is due is found in Postgres ---------------------------------------------
timezone = "UTC"
beat_schedule = {
    name: {
        "task": periodic.task,
        "schedule": timedelta(seconds=periodic.tick_seconds(_settings)),
        # A tick that waited longer than this has a younger one behind it.
        "options": {"expires": periodic.expiry_seconds(_settings)},
    }
    # When each is due, and why it is there, is said in that table.
    for name, periodic in PERIODIC_TASKS.items()
}
