"""The Celery app that tasks register with and are published through. It imports nothing of ours.

Its configuration is read when it is first needed, so that importing this costs no settings.
"""

from celery import Celery

app = Celery("threadmill", task_cls="tasks.checked_task:CheckedTask")
app.config_from_object("celeryconfig")
