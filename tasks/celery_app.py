"""The Celery app that tasks register with and are published through. It imports nothing of ours.

What stays true: its configuration is our own file, read when it is first needed, so that importing this costs no
settings; and it is all of it. What the environment holds for another project's Celery is nothing to this one.
"""

import os

from celery import Celery

#: Variables that Celery takes before any configuration: another project's, in whose shell a worker was started.
FOREIGN_VARIABLES = ("CELERY_BROKER_URL", "CELERY_BROKER_READ_URL", "CELERY_BROKER_WRITE_URL", "CELERY_RESULT_BACKEND")


def forget_foreign_variables() -> None:
    """Take these variables out of the environment of this process and its children."""
    for variable in FOREIGN_VARIABLES:
        os.environ.pop(variable, None)


forget_foreign_variables()
# Without fixups: with DJANGO_SETTINGS_MODULE set, Celery's own would set a stranger's project up in here.
app = Celery(
    "threadmill",
    task_cls="tasks.checked_task:CheckedTask",
    # However the configuration names the broker, each message is checked.
    amqp="tasks.checked_broker:CheckedAMQP",
    loader="app",
    fixups=set(),
)
# Ours by its place: another `celeryconfig` may be found before it.
app.config_from_object("threadmill_packages:celeryconfig")
