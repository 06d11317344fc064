"""The kinds of our tasks: one whose messages and errors are checked, and one that is silent while it finds nothing.

What stays true: no message ends a worker or keeps a place in it. Celery itself looks at the name of a task alone:
another shape ended the process, which put the message back for the next, or held a place for ever. And no error leaves
a task with its words: Celery logs them and sends them to whoever watches, and they may quote what users wrote.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

from celery import Task
from celery.exceptions import InvalidTaskError, TaskPredicate
from celery.worker.strategy import default

from conversation.errors import LeaseLost, OperatorError
from tasks.exhaustion import replacement
from tasks.task_events import task_events

#: Errors whose words are ours and say what to do, and what Celery itself is told by.
_SPEAKING_ERRORS = (OperatorError, LeaseLost, TaskPredicate)


class TaskBroke(Exception):
    """An error ended a task; the text names its type, and its traceback is that error's."""


class CheckedTask(Task):  # type: ignore[misc]  # celery ships no types
    """A task whose messages are checked before Celery takes them for its own."""

    abstract = True
    #: All that it waits for, it waits for by `wait_on_loop`: it needs no thread.
    waits_on_loop = False
    Strategy = "tasks.checked_task:check_first"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the task. Raises `TaskBroke` in place of an error that may quote anybody."""
        try:
            return self.run(*args, **kwargs)
        except _SPEAKING_ERRORS as error:
            replacement.begin_after(error)
            raise
        except Exception as error:  # noqa: BLE001 - foreign code may raise anything
            replacement.begin_after(error)
            name = f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")
            raise TaskBroke(name).with_traceback(error.__traceback__) from None


class QuietTask(CheckedTask):
    """A task that shows itself in Flower where it returns counts that are not all zero, or fails.

    Of a turn's task there is nothing to show: the turns that it ran have rows of their own.
    """

    abstract = True
    send_events = False

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        """Note when it began."""
        del task_id, args, kwargs
        self.request.began_at = time.time()

    def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:
        """Show what was found."""
        if task_events.are_wanted and (counts := _nonzero_counts(retval)):
            self._send(task_id, args, kwargs, "succeeded", result=repr(counts))

    def on_failure(self, exc: Exception, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        """Show that it failed, and where."""
        if task_events.are_wanted:
            self._send(task_id, args, kwargs, "failed", exception=repr(exc), traceback=str(einfo.traceback))

    def _send(self, task_id: str, args: Any, kwargs: Any, kind: str, **fields: Any) -> None:
        # A message that does not fit the task fails before it begins.
        began_at = getattr(self.request, "began_at", time.time())
        named = {"name": self.name, "args": repr(args), "kwargs": repr(kwargs)}
        task_events.send("received", task_id, timestamp=began_at, retries=0, **named)
        task_events.send("started", task_id, timestamp=began_at)
        task_events.send(kind, task_id, runtime=time.time() - began_at, **fields)


def _nonzero_counts(outcome: Any) -> dict[str, Any]:
    counts = outcome if isinstance(outcome, Mapping) else {}
    return {name: count for name, count in counts.items() if isinstance(count, int | float) and count}


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
