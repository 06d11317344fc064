"""The Celery app. `celery -A tasks.app worker` starts here."""

from celery import Celery

from tasks import celery_hooks, orphaned_children
from tasks.broker_outage import survive_broker_outages

app = Celery("threadmill")
app.config_from_object("celeryconfig")
celery_hooks.connect()
orphaned_children.connect()
survive_broker_outages()
