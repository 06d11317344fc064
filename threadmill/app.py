"""The Celery app, by a name that no other project has: `celery -A threadmill.app worker` starts here.

What stays true: before anything of ours is imported, its names are ours; what of the user's has one of them
is told in one line when a worker starts.
"""

import sys
from typing import Any

import structlog
from celery import signals

import threadmill_packages

threadmill_packages.pin()

from tasks.app import app  # noqa: E402 - found by its place alone, from here on
from tasks.loop_pool import TaskPool  # noqa: E402 - Celery looks for a pool before it looks for an app

__all__ = ["TaskPool", "app"]


def tell_others(**_: Any) -> None:
    """Log the modules of others that this worker's agents cannot import."""
    others = threadmill_packages.find_others(sys.path)
    if others:
        text = threadmill_packages.describe_others(others)
        structlog.get_logger(__name__).warning("modules_out_of_reach", modules=others, meaning=text)


signals.celeryd_after_setup.connect(tell_others)
