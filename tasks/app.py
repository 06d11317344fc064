"""The Celery app as a process runs it. `threadmill.app` is the name by which it is started."""

from celery import concurrency

from tasks import celery_hooks, orphaned_children
from tasks.celery_app import app
from tasks.loop_pool import POOL

__all__ = ["app"]

# Celery's command line needs CELERY_CUSTOM_WORKER_POOL; a worker that is started out of Python finds it here.
concurrency.ALIASES["custom"] = concurrency.ALIASES["custom"] or POOL
celery_hooks.connect()
orphaned_children.connect()
