"""The kind of our tasks: a message that is not one of Celery's is put aside, as one for an unknown task is.

What stays true: no message ends a worker or keeps a place in it. Celery itself looks at the name of a task alone:
another shape ended the process, which put the message back for the next, or held a place for ever.
"""

from collections.abc import Callable
from typing import Any

from celery import Task
from celery.exceptions import InvalidTaskError
from celery.worker.strategy import default


class CheckedTask(Task):  # type: ignore[misc]  # celery ships no types
    """A task whose messages are checked before Celery takes them for its own."""

    abstract = True
    #: All that it waits for, it waits for by `wait_on_loop`: it needs no thread.
    waits_on_loop = False
    Strategy = "tasks.checked_task:check_first"


def check_first(task: Any, app: Any, consumer: Any, **options: Any) -> Callable[..., Any]:
    """Make a worker's handler of messages for a task: Celery's own, behind a check of a message's shape."""
    handle = default(task, app, consumer, **options)

    def handle_checked(message: Any, body: Any, *arguments: Any, **more: Any) -> Any:
        try:
            if body is None:
                _check_payload(message.payload)
            return handle(message, body, *arguments, **more)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise InvalidTaskError(f"no message of Celery's: {type(error).__name__}") from error

    return handle_checked


def _check_payload(payload: Any) -> None:
    """Check the body of a message, decoded. Raises `ValueError` and `TypeError`."""
    arguments, named, embedded = payload
    if not (isinstance(arguments, list) and isinstance(named, dict) and isinstance(embedded, dict | None)):
        raise TypeError("arguments, named arguments and what is embedded have other types")
