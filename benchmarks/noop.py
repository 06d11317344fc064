"""A bare Celery app with our broker settings and a task that does nothing: what Celery itself costs.

What stays true: its worker is Celery's own, its way to send task events included. Only the broker is set up as ours.
"""

from celery import Celery

from conversation.task_contract import RUN_TURNS
from store.settings import current

#: One queue a pool: whoever publishes chooses who runs it.
QUEUE, OWN_POOL_QUEUE = "noop", "noop-own-pool"
DONE = "noop-done"

app = Celery("noop", set_as_current=False)
app.config_from_object("threadmill_packages:celeryconfig")
app.conf.imports = ()
app.conf.beat_schedule = {}
app.conf.worker_consumer = "celery.worker.consumer:Consumer"


@app.task(name="noop", shared=False)
def noop() -> None:
    """Do nothing."""


@app.task(name=RUN_TURNS, shared=False, waits_on_loop=True)
def noop_turn() -> None:
    """Do nothing, as a task that the pool of turns takes for one of them, by its name or its mark."""


@app.task(name="noop.last", shared=False)
def mark_done() -> None:
    """Say that all before this one were taken."""
    from redis import Redis

    with Redis.from_url(current().broker_url.get_secret_value()) as client:
        client.set(DONE, 1)
