"""Children of a prefork pool end with their worker, also if it dies while they start.

Celery has Linux kill a child whose worker dies (`PR_SET_PDEATHSIG`), but does not check whether the
worker died before the child came to ask for it. Such a child would wait for work for ever: the pipe
that it reads is held open by its siblings, and theirs by it.
"""

import os
import sys

from celery import signals

_worker_pid = 0


def connect() -> None:
    """Connect the hooks. Celery keeps weak references, so they are functions of this module."""
    signals.celeryd_after_setup.connect(_on_setup)
    signals.worker_process_init.connect(_on_child)


def _on_setup(**_: object) -> None:
    global _worker_pid  # noqa: PLW0603 - a forked child reads it, and nothing else comes along to it
    _worker_pid = os.getpid()


def _on_child(**_: object) -> None:
    # A spawned child (macOS) knows of no worker, and was promised nothing.
    if _worker_pid and os.getppid() != _worker_pid:
        sys.exit("the worker of this process is gone")
