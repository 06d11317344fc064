"""Events of workers as Flower takes them: those that have the form of a worker's, however many come.

What stays true: nothing that is published on the channel of events ends or fills Flower. An event is made anew out of
fields that are known, short and of one kind. Anybody who may publish there can still invent a task, or a worker: what
Flower shows is for people, and nothing of ours reads it.
"""

import json
import math
import time
from base64 import b64decode
from collections.abc import Iterator, Mapping
from typing import Any

from celery.events import EventReceiver

from store.live.message_budget import MessageBudget
from tasks.refusals import note_refusal

#: Bytes of a message of events, and events in one.
MESSAGE_MAX_BYTES, EVENTS_MAX = 1_048_576, 1_000
#: Messages that are taken in a second.
TAKEN_PER_SECOND = 2_000
#: Characters of a field; of a name, which Flower keeps for each worker and task; and of these names, how many at once.
TEXT_MAX_CHARS, NAME_MAX_CHARS, NAMES_MAX = 8_192, 255, 500
#: Seconds after which a name that no event had makes room for another: workers come and go.
NAME_SECONDS = 600.0
NUMBER_MAX = 1 << 53

TYPES = frozenset(
    [
        *("worker-online", "worker-heartbeat", "worker-offline"),
        *("task-sent", "task-received", "task-started", "task-succeeded", "task-failed"),
        *("task-rejected", "task-revoked", "task-retried"),
    ]
)
NUMBERS = frozenset(
    [
        *("timestamp", "utcoffset", "clock", "pid", "freq", "active", "processed", "retries", "runtime", "signum"),
        *("terminated", "expired"),
    ]
)
TEXTS = frozenset(
    [
        *("name", "uuid", "hostname", "args", "kwargs", "result", "exception", "traceback", "eta", "expires"),
        *("queue", "exchange", "routing_key", "root_id", "parent_id", "sw_ident", "sw_ver", "sw_sys"),
    ]
)


def read_events(data: bytes) -> list[Any]:
    """The events in what was published; none where that is none."""
    if len(data) > MESSAGE_MAX_BYTES:
        return []
    try:
        message = json.loads(data)
        if message["properties"]["body_encoding"] != "base64":
            return []
        events = json.loads(b64decode(message["body"], validate=True))
    except (ValueError, TypeError, LookupError, RecursionError):
        return []
    return events[:EVENTS_MAX] if isinstance(events, list) else [events]


def make_anew(event: Any) -> dict[str, Any] | None:
    """An event with the fields that are known; None where it is none."""
    if not isinstance(event, dict) or not isinstance(kind := event.get("type"), str) or kind not in TYPES:
        return None
    made: dict[str, Any] = dict(_read_fields(event)) | {"type": kind}
    required = ("hostname", "timestamp", *(("uuid",) if kind.startswith("task-") else ()))
    if not all(made.get(name) for name in required):
        return None
    return made if all(len(made.get(name) or "") <= NAME_MAX_CHARS for name in ("hostname", "uuid", "name")) else None


def _read_fields(event: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in event.items():
        if value is None and name in TEXTS | NUMBERS:
            yield name, None
        elif name in TEXTS and isinstance(value, str):
            yield name, value[:TEXT_MAX_CHARS]
        elif name in NUMBERS and _is_number(value):
            yield name, value
        elif name == "loadavg" and isinstance(value, list) and all(map(_is_number, value)):
            yield name, value[:3]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value) and abs(value) < NUMBER_MAX


class CheckedEventReceiver(EventReceiver):  # type: ignore[misc]  # celery ships no types
    """Celery's receiver of events, for channels on which anybody may publish."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._budget = MessageBudget(TAKEN_PER_SECOND)
        #: When an event had each name last, by the monotonic clock.
        self._names: dict[str, float] = {}

    def get_consumers(self, Consumer: Any, channel: Any) -> Any:  # noqa: N803 - celery's word
        channel.handlers["LISTEN"] = lambda: self._listen(channel)
        return super().get_consumers(Consumer, channel)

    def _listen(self, channel: Any) -> bool:
        """Take what has come on a channel of kombu's, without kombu's reading of it."""
        client = channel.subclient
        is_first = True
        while is_first or (client.connection is not None and client.connection.can_read(timeout=0)):
            is_first = False
            try:
                response = client.parse_response()
            except channel.connection_errors:
                channel._in_listen = None  # noqa: SLF001 - as kombu's own reading leaves it
                raise
            if isinstance(response, list | tuple) and response[0] in (b"pmessage", "pmessage"):
                self._take(response[-1])
        return True

    def _take(self, data: bytes) -> None:
        if not self._budget.take():
            note_refusal("event_flood")
            return
        events = [made for event in read_events(data) if (made := make_anew(event)) and self._knows_names(made)]
        for event in events:
            self.process(*self.event_from_message(event))
        if not events:
            note_refusal("event_malformed")

    def _knows_names(self, event: Mapping[str, Any]) -> bool:
        """Whether Flower has room for the names of an event."""
        now = time.monotonic()
        names = {name for name in (event["hostname"], event.get("name")) if name}
        if len(self._names.keys() | names) > NAMES_MAX:
            self._names = {name: seen_at for name, seen_at in self._names.items() if now - seen_at < NAME_SECONDS}
        if len(self._names.keys() | names) > NAMES_MAX:
            return False
        self._names.update(dict.fromkeys(names, now))
        return True
