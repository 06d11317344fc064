"""Messages from the broker, read as what anybody may have written there.

What stays true: nothing is parsed that is longer than a message of ours, and of what is parsed only a task's name, its
id, its arguments and its priority are taken over, each after a check; a message of any other form is refused, whatever
is odd in it. What is neither refused nor taken over (who sent it, headers of tracing) reaches nobody.
"""

import json
from base64 import b64decode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from conversation.branch_address import check_address
from conversation.errors import InvalidInput
from conversation.ids import is_our_id
from conversation.task_contract import (
    MESSAGE_MAX_BYTES,
    PAYLOAD_VERSION,
    PREPARE_FILE,
    PRIORITY_MAX,
    RUN_SUMMARIES_NOW,
    RUN_TURNS,
    TASKS_OF_QUEUES,
)
from conversation.validation import check_tenant, is_sha256
from tasks.refusals import is_message_id

#: Bytes of an answer to remote control at most: a worker's whole configuration has a tenth of it.
ANSWER_MAX_BYTES = 1024 * 1024
Check = Callable[[Any], bool]

#: What a body may say of tasks that follow it: nothing.
FOLLOWERS = frozenset({"callbacks", "errbacks", "chain", "chord"})


class MessageRefused(Exception):
    """A message is none of ours; `kind` is one of `refusals.KINDS`."""

    def __init__(self, kind: str, message_id: str | None = None) -> None:
        super().__init__(kind)
        self.kind = kind
        self.message_id = message_id


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedTask:
    """The task that a message asks for."""

    task: str
    task_id: str
    payload: Mapping[str, int | str]
    priority: int


def read_task(raw: bytes, *, queue: str) -> ReceivedTask:
    """Read a message that was taken from a queue. Raises `MessageRefused`."""
    if len(raw) > MESSAGE_MAX_BYTES:
        raise MessageRefused("too_large")
    message = _parse(raw)
    headers, properties = _part(message, "headers"), _part(message, "properties")
    task_id = headers.get("id")
    if not is_message_id(task_id):
        raise MessageRefused("wrong_form")
    try:
        for part, checks in ((headers, _HEADERS), (message, _ENVELOPE), (properties, _PROPERTIES)):
            _check(part, checks)
        task = _read_name(headers.get("task"), queue)
        payload = _read_payload(task, message["body"])
    except MessageRefused as refused:
        raise MessageRefused(refused.kind, task_id) from refused
    return ReceivedTask(task=task, task_id=task_id, payload=payload, priority=properties["priority"])


def read_answer(raw: bytes) -> dict[str, Any]:
    """Read an answer to remote control, for who asked workers. Raises `MessageRefused`."""
    if len(raw) > ANSWER_MAX_BYTES:
        raise MessageRefused("too_large")
    message: dict[str, Any] = _parse(raw)
    for part, checks in ((_part(message, "headers"), _ANSWER_HEADERS), (message, _ENVELOPE)):
        _check(part, checks)
    _check(_part(message, "properties"), _ANSWER_PROPERTIES)
    _parse_body(message["body"])
    return message


def _read_name(name: Any, queue: str) -> str:
    if not isinstance(name, str) or name not in TASKS_OF_QUEUES[queue]:
        raise MessageRefused("other_task")
    return name


def _parse(raw: bytes) -> Any:
    try:
        return _DECODER.decode(raw.decode())
    except (ValueError, RecursionError):
        raise MessageRefused("no_json") from None


def _parse_body(body: str) -> Any:
    try:
        return _parse(b64decode(body, validate=True))
    except ValueError:
        raise MessageRefused("wrong_form") from None


def _make_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a key stands there twice")
    return made


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_make_object, parse_constant=_refuse_constant)


def _part(message: Any, name: str) -> dict[str, Any]:
    part = message.get(name) if isinstance(message, dict) else None
    if not isinstance(part, dict):
        raise MessageRefused("wrong_form")
    return part


def _check(part: Mapping[str, Any], checks: Mapping[str, tuple[str, Check]]) -> None:
    for name, (kind, is_right) in checks.items():
        if not is_right(part.get(name)):
            raise MessageRefused(kind)


def _read_payload(task: str, body: str) -> Mapping[str, int | str]:
    """Read the arguments of a task out of a message's body."""
    match _parse_body(body):
        case [[], dict() as payload, dict() as followers]:
            pass
        case _:
            raise MessageRefused("wrong_form")
    if not FOLLOWERS.issuperset(followers) or any(follower is not None for follower in followers.values()):
        raise MessageRefused("with_followers")
    arguments = _ARGUMENTS.get(task, {})
    if payload.keys() != arguments.keys() or not all(arguments[name](value) for name, value in payload.items()):
        raise MessageRefused("wrong_arguments")
    return payload


def _is_none(value: object) -> bool:
    return value is None


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_text_or_none(value: object) -> bool:
    return value is None or isinstance(value, str)


def _is_id_or_none(value: object) -> bool:
    return value is None or is_message_id(value)


def _is_zero_or_none(value: object) -> bool:
    return value is None or (type(value) is int and value == 0)


def _is_priority(value: object) -> bool:
    return type(value) is int and 0 <= value <= PRIORITY_MAX


def _is_empty(value: object) -> bool:
    return value is None or (isinstance(value, dict | list) and not value)


def _is_time_limits(value: object) -> bool:
    """Limits as Celery writes those of the task itself. It has its own in the worker, whatever stands here."""
    return value is None or (
        isinstance(value, list)
        and len(value) == len(("hard", "soft"))
        and all(limit is None or type(limit) in (int, float) for limit in value)
    )


def _is_version(value: object) -> bool:
    return type(value) is int and value == PAYLOAD_VERSION


def _is_route(value: object) -> bool:
    """Where a publisher sent it; where it was found is what counts."""
    return isinstance(value, dict) and all(_is_text(value.get(name)) for name in ("exchange", "routing_key"))


def _is_not_over(value: object) -> bool:
    """Whether the time until which a message is worth running is not over, or it has none."""
    if not isinstance(value, str):
        return value is None
    try:
        moment = datetime.fromisoformat(value)
        return moment.tzinfo is not None and moment.astimezone(UTC) > datetime.now(UTC)
    except (ValueError, OverflowError):
        return False


def _passes(check: Callable[[Any], object], value: object) -> bool:
    try:
        check(value)
    except InvalidInput:
        return False
    return True


#: What stands in each part of a message, and as what a message is refused where it does not.
_ENVELOPE: Mapping[str, tuple[str, Check]] = {
    "body": ("wrong_form", _is_text),
    "content-type": ("wrong_form", lambda value: value == "application/json"),
    "content-encoding": ("wrong_form", lambda value: value == "utf-8"),
}
_PROPERTIES: Mapping[str, tuple[str, Check]] = {
    "body_encoding": ("wrong_form", lambda value: value == "base64"),
    "correlation_id": ("wrong_form", _is_id_or_none),
    "delivery_info": ("wrong_form", _is_route),
    "delivery_mode": ("wrong_form", lambda value: value is None or type(value) is int),
    "delivery_tag": ("wrong_form", is_message_id),
    "priority": ("wrong_form", _is_priority),
    "reply_to": ("wrong_form", _is_text_or_none),
}
_HEADERS: Mapping[str, tuple[str, Check]] = {
    "compression": ("compressed", _is_none),
    "eta": ("delayed", _is_none),
    "retries": ("delayed", _is_zero_or_none),
    "group": ("with_followers", _is_none),
    "group_index": ("with_followers", _is_none),
    "chord": ("with_followers", _is_none),
    "replaced_task_nesting": ("with_followers", _is_zero_or_none),
    "lang": ("wrong_form", _is_text_or_none),
    "meth": ("wrong_form", _is_none),
    "shadow": ("wrong_form", _is_none),
    "timelimit": ("wrong_form", _is_time_limits),
    "root_id": ("wrong_form", _is_id_or_none),
    "parent_id": ("wrong_form", _is_id_or_none),
    "argsrepr": ("wrong_form", _is_text_or_none),
    "kwargsrepr": ("wrong_form", _is_text_or_none),
    "origin": ("wrong_form", _is_text_or_none),
    "ignore_result": ("wrong_form", lambda value: value is None or isinstance(value, bool)),
    "stamped_headers": ("wrong_form", _is_empty),
    "stamps": ("wrong_form", _is_empty),
    # The last, since it alone is nobody's fault.
    "expires": ("expired", _is_not_over),
}
_ANSWER_HEADERS = {"compression": _HEADERS["compression"]}
_ANSWER_PROPERTIES = {name: _PROPERTIES[name] for name in ("body_encoding", "delivery_info", "delivery_tag")}
#: The arguments of each task; those that are not named here take none.
_ARGUMENTS: Mapping[str, Mapping[str, Check]] = {
    RUN_TURNS: {
        "v": _is_version,
        "tenant": partial(_passes, check_tenant),
        # A branch that was made for another answer is named by its own address.
        "thread": partial(_passes, partial(check_address, "thread")),
        "turn": is_our_id,
    },
    PREPARE_FILE: {
        "v": _is_version,
        "tenant": partial(_passes, check_tenant),
        "sha256": lambda value: isinstance(value, str) and is_sha256(value),
    },
    RUN_SUMMARIES_NOW: {"v": _is_version},
}
