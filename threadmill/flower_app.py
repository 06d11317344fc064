"""The Celery app as Flower runs it, by a name that no other project has: `celery -A threadmill.flower_app flower`."""

import threadmill_packages

threadmill_packages.pin()

from tasks.flower import app  # noqa: E402 - found by its place alone, from here on

__all__ = ["app"]
