"""A bare Celery app with our broker settings and a task that does nothing: the least that a wake-up costs."""

from celery import Celery

from conversation.task_contract import RUN_TURNS
from store.settings import current

#: One queue a pool: whoever publishes chooses who runs it.
QUEUE, OWN_POOL_QUEUE = "noop", "noop-own-pool"
DONE = "noop-done"

app = Celery("noop", set_as_current=False)
app.config_from_object("celeryconfig")
app.conf.imports = ()
app.conf.beat_schedule = {}


@app.task(name="noop")
def noop() -> None:
    """Do nothing."""


@app.task(name=RUN_TURNS)
def noop_turn() -> None:
    """Do nothing, by the name of a turn's task: the pool of turns knows them by that."""


@app.task(name="noop.last")
def mark_done() -> None:
    """Say that all before this one were taken."""
    from redis import Redis

    with Redis.from_url(current().broker_url.get_secret_value()) as client:
        client.set(DONE, 1)
