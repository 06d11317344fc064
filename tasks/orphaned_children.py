"""Children of a prefork pool end with their worker, also if it dies while they start.

Celery has Linux kill a child whose worker dies (`PR_SET_PDEATHSIG`), but does not look whether the
worker died before the child came to ask for it. Such a child would wait for work for ever: the pipe
that it reads is held open by its siblings, and theirs by it.
"""

import os
import sys

from celery import signals

_worker = 0


def connect() -> None:
    """Have Celery call us. It keeps weak references, so these are functions of this module."""
    signals.celeryd_after_setup.connect(_on_setup)
    signals.worker_process_init.connect(_on_child)


def _on_setup(**_: object) -> None:
    global _worker  # noqa: PLW0603 - a forked child reads it, and nothing else comes along to it
    _worker = os.getpid()


def _on_child(**_: object) -> None:
    # A spawned child (macOS) knows of no worker, and was promised nothing.
    if _worker and os.getppid() != _worker:
        sys.exit("the worker of this process is gone")
