"""Celery's own message of a task, made without Celery: its protocol 2, in kombu's layout for Redis.

What stays true: no worker can tell such a message from one that Celery published. A test publishes both to
a real broker and compares them field by field, so that another layout in another Celery is noticed. Workers make what
they take from the broker anew in this form, so that Celery meets no other.
"""

import json
import os
import socket
from base64 import b64encode
from bisect import bisect
from collections.abc import Mapping
from typing import Any

from conversation.ids import new_id

#: What stands between a queue's name and a priority in the name of a list, if the options do not say.
SEPARATOR = "\x06\x16"
#: The priorities that have a list of their own, if the options do not say.
PRIORITY_STEPS = (0, 3, 6, 9)

#: The third part of each body: none of our tasks has a task behind it.
_NO_FOLLOWERS = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


class TaskMessages:
    """The messages of one publisher, and the lists that they wait in."""

    def __init__(self, transport_options: Mapping[str, Any]) -> None:
        """`transport_options` are kombu's."""
        self._prefix: str = transport_options.get("global_keyprefix", "")
        self._separator: str = transport_options.get("sep", SEPARATOR)
        self._steps = tuple(transport_options.get("priority_steps", PRIORITY_STEPS))
        self._origin = f"gen{os.getpid()}@{socket.gethostname()}"
        #: Where a result would go; none of our tasks has one.
        self._reply_to = new_id()

    def list_name(self, queue: str, priority: int) -> str:
        """The name of the list in which a message waits."""
        step = self._steps[bisect(self._steps, priority) - 1]
        return f"{self._prefix}{queue}{self._separator}{step}" if step else f"{self._prefix}{queue}"

    def build(self, task: str, payload: Mapping[str, int | str], *, queue: str, priority: int) -> str:
        """A message with an id of its own, as the text that waits in the list."""
        message = compose_message(
            task, new_id(), payload, queue=queue, priority=priority, origin=self._origin, reply_to=self._reply_to
        )
        return json.dumps(encode_body(message))


def compose_message(
    task: str,
    task_id: str,
    payload: Mapping[str, int | str],
    *,
    queue: str,
    priority: int,
    origin: str = "",
    reply_to: str = "",
) -> dict[str, Any]:
    """The message of one task, with its body as values: no type says that kombu and Celery are to decode it."""
    return {
        "body": [[], payload, dict(_NO_FOLLOWERS)],
        "content-encoding": "binary",
        "content-type": None,
        "headers": {
            "lang": "py",
            "task": task,
            "id": task_id,
            "shadow": None,
            "eta": None,
            "expires": None,
            "group": None,
            "group_index": None,
            "retries": 0,
            "timelimit": [None, None],
            "root_id": task_id,
            "parent_id": None,
            "argsrepr": "()",
            "kwargsrepr": _show(payload),
            "origin": origin,
            "ignore_result": None,
            "replaced_task_nesting": 0,
            "stamped_headers": None,
            "stamps": {},
        },
        "properties": {
            "correlation_id": task_id,
            "reply_to": reply_to,
            "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": queue},
            "priority": priority,
            "delivery_tag": new_id(),
        },
    }


def encode_body(message: Mapping[str, Any]) -> dict[str, Any]:
    """The same message with its body as text: as it waits in the broker."""
    return {
        **message,
        "body": b64encode(json.dumps(message["body"]).encode()).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "properties": {**message["properties"], "body_encoding": "base64"},
    }


def _show(payload: Mapping[str, int | str]) -> str:
    """The arguments as Flower shows them: Celery's form, whose quotes are not quite those of `repr`."""
    values = (f"'{name}': {_quote(value) if isinstance(value, str) else value}" for name, value in payload.items())
    return f"{{{', '.join(values)}}}"


def _quote(text: str) -> str:
    escaped_text = text.replace("'", "\\'")
    return f"'{escaped_text}'"
