"""The Celery app of the workers of `threadmill dev`: as everywhere, and `dev` reads what they log."""

from typing import Any

from celery import signals

from threadmill.app import TaskPool, app
from threadmill.dev.event_file import copy_events

__all__ = ["TaskPool", "app"]


def on_logging(**_: Any) -> None:
    """Copy what is logged from here on. Connected after ours: logging is set up by then, in whatever form."""
    copy_events()


signals.setup_logging.connect(on_logging)
