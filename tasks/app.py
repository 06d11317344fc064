"""The Celery app as a process runs it. `celery -A tasks.app worker` starts here."""

from tasks import celery_hooks, orphaned_children
from tasks.broker_outage import survive_broker_outages
from tasks.celery_app import app

__all__ = ["app"]

celery_hooks.connect()
orphaned_children.connect()
survive_broker_outages()
