"""Refusals: what came to this process over the broker and was dropped, counted by its kind.

What stays true: the kinds are a closed set, and no line quotes what was dropped; however much is dropped, a kind gets
one line a second, so that nobody fills a log through the broker; what came meanwhile is told when that is over.
"""

import re
import threading
import time
from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType
from typing import TypeGuard

import structlog

#: What a message is refused for, and what it is in words.
KINDS: Mapping[str, str] = MappingProxyType(
    {
        "too_large": "longer than any message of ours, so not even parsed",
        "no_json": "no JSON in UTF-8, or deeper, larger or with more keys of one name than a message has",
        "wrong_form": "a part has another type or value than Celery's message of our tasks",
        "compressed": "compressed, which no message of ours is",
        "other_task": "a task that is none of its queue",
        "delayed": "to be run later, or again: due times are in PostgreSQL",
        "with_followers": "to publish other tasks when it ends, as none of ours does",
        "wrong_arguments": "arguments that the task does not take",
        "expired": "a tick of beat, with a younger one behind it",
        "wrong_reply": "no reply to remote control",
        "wrong_key": "a key of the broker has another type than a worker's",
        "control_malformed": "remote control: no command, or a longer one than Flower's",
        "control_verb": "remote control: a verb that no view of Flower's needs",
        "control_rate": "remote control: more questions than are answered in a second",
        "event_malformed": "no event of a worker's, at Flower",
        "event_flood": "more events than Flower takes in a second",
        "control_flood": "remote control: more commands than are heard in a second",
    }
)
#: Seconds in which a kind gets one line at most.
LINE_SECONDS = 1.0

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@:-]{0,63}")
_log = structlog.get_logger(__name__)


def is_message_id(value: object) -> TypeGuard[str]:
    """Whether a value has the form of a message's id: short, and plain in a line."""
    return isinstance(value, str) and _ID.fullmatch(value) is not None


class Refusals:
    """The counts of one process."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        #: Of each kind what no line has told yet, and when the last one did.
        self._untold: Counter[str] = Counter()
        self._told_at: dict[str, float] = {}
        self._lock = threading.Lock()

    def note(self, kind: str, message_id: object = None) -> None:
        """Count one, and log it: at once, or with all others of a second when that is over."""
        with self._lock:
            self._counts[kind] += 1
            self._untold[kind] += 1
            pause = self._told_at.get(kind, -LINE_SECONDS) + LINE_SECONDS - time.monotonic()
            if pause > 0:
                if self._untold[kind] == 1:
                    telling = threading.Timer(pause, self._tell, [kind])
                    telling.daemon = True
                    telling.start()
                return
        self._tell(kind, message_id)

    def _tell(self, kind: str, message_id: object = None) -> None:
        with self._lock:
            count = self._untold.pop(kind, 0)
            if not count:
                return
            self._told_at[kind] = time.monotonic()
        ids = {"message_id": message_id} if is_message_id(message_id) else {}
        _log.warning("broker_message_refused", kind=kind, count=count, **ids)

    def count(self) -> Mapping[str, int]:
        """How many were refused of each kind."""
        with self._lock:
            return dict(self._counts)


_refusals = Refusals()


def note_refusal(kind: str, message_id: str | None = None) -> None:
    """Count and log what was dropped; `kind` is one of `KINDS`."""
    _refusals.note(kind if kind in KINDS else "wrong_form", message_id)


def refusals() -> Mapping[str, int]:
    """How many messages this process refused, by kind."""
    return _refusals.count()
