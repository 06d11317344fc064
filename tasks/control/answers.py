"""The answers of a worker to remote control: the reading verbs of Flower's views, and no other verb.

What stays true: an answer changes nothing, asks nobody, and takes no argument. It is bounded, and shows of the broker's
address and of the configuration only what is listed here: a value that another Celery adds is not in it.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from celery.utils.collections import AttributeDict
from celery.worker.control import Panel

#: Characters of an answer, and entries of one that is a list.
ANSWER_MAX_CHARS, ANSWER_MAX_ENTRIES = 131_072, 200
#: What is shown of the worker, of its broker, and of its configuration.
STATS = ("total", "pid", "clock", "uptime", "pool", "prefetch_count", "rusage")
BROKER = ("transport", "hostname", "port", "virtual_host")
SETTINGS = (
    *("accept_content", "task_serializer", "task_default_queue", "task_acks_late", "task_ignore_result"),
    *("worker_concurrency", "worker_prefetch_multiplier", "worker_disable_prefetch", "worker_send_task_events"),
    *("timezone", "enable_utc"),
)
#: What Flower asks of all workers by itself, and what it then needs no answer to: nothing comes of it, and no line.
UNHEARD_VERBS = frozenset(["enable_events", "heartbeat"])

Consumer = Any


def answer(verb: str, consumer: Consumer) -> str:
    """The answer of a worker, as JSON under its name. Raises `KeyError` for a verb that is not answered."""
    give = _ANSWERS[verb]
    try:
        value = give(_state_of(consumer))
    except Exception as error:  # noqa: BLE001 - a worker that just starts or stops
        value = {"error": type(error).__name__}
    return _write(consumer.hostname, value)


def _write(hostname: str, value: Any) -> str:
    if isinstance(value, list):
        value = value[:ANSWER_MAX_ENTRIES]
    while len(text := json.dumps({hostname: value}, default=str)) > ANSWER_MAX_CHARS:
        value = value[: len(value) // 2] if isinstance(value, list) else {"error": "too long"}
    return text


def _state_of(consumer: Consumer) -> AttributeDict:
    return AttributeDict(app=consumer.app, hostname=consumer.hostname, consumer=consumer, tset=set)


def _show_stats(state: Any) -> dict[str, Any]:
    stats = Panel.data["stats"](state)
    shown = {name: stats[name] for name in STATS if name in stats}
    return shown | {"broker": {name: stats.get("broker", {}).get(name) for name in BROKER}}


def _show_settings(state: Any) -> dict[str, Any]:
    return {name: state.app.conf[name] for name in SETTINGS}


def _show_active(state: Any) -> Any:
    return Panel.data["active"](state, safe=True)


def _ask_celery(verb: str) -> Callable[[Any], Any]:
    def ask(state: Any) -> Any:
        return Panel.data[verb](state)

    return ask


#: By verb: all that a worker answers.
_ANSWERS: Mapping[str, Callable[[Any], Any]] = {
    "stats": _show_stats,
    "conf": _show_settings,
    "active": _show_active,
    **{verb: _ask_celery(verb) for verb in ("active_queues", "registered", "scheduled", "reserved", "revoked")},
}
VERBS = frozenset(_ANSWERS)
