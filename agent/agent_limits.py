"""The limits of an agent, checked where it is made."""

from collections.abc import Callable
from dataclasses import fields
from math import isnan
from typing import Any

from conversation.errors import InvalidInput
from conversation.quotation import quote

#: Seconds and dollars of which there have to be some.
_AMOUNTS = (
    "max_turn_seconds",
    "model_timeout_seconds",
    "model_silence_seconds",
    "wait_expire_seconds",
    "max_summary_cost",
)
#: Counts of which there has to be one.
_COUNTS = (
    "max_messages",
    "max_steps",
    "max_turn_tokens",
    "max_window_tokens",
    "max_summary_tokens",
    "max_turn_attempts",
    "model_max_attempts",
)
#: Counts that may be 0.
_COUNTS_OR_NONE_AT_ALL = (
    "max_file_tokens",
    "max_depth",
    "max_children",
    "summarize_after_messages",
    "summarize_after_tokens",
    "summarize_keep_messages",
    "summarize_keep_tokens",
)
WHEN_WAITING = ("block", "go_on")


def check_limits(agent: Any) -> None:
    """Raise `InvalidInput` for a limit that no run could keep."""
    may_be_none = {field.name for field in fields(agent) if field.default is None}

    def check(name: str, fits: Callable[[Any], bool], fix: str) -> None:
        value = getattr(agent, name)
        if not (fits(value) or (value is None and name in may_be_none)):
            fix += ", or None" if name in may_be_none else ""
            raise InvalidInput(f"agent.{name}", f"is {quote(value)}", fix)

    for name in _AMOUNTS:
        check(name, lambda value: _is_number(value) and value > 0, "pass a number above 0")
    for name in _COUNTS:
        check(name, lambda value: _is_whole(value) and value > 0, "pass a whole number above 0")
    for name in _COUNTS_OR_NONE_AT_ALL:
        check(name, lambda value: _is_whole(value) and value >= 0, "pass a whole number, 0 or more")
    check("max_turn_retry_seconds", lambda value: _is_number(value) and value >= 0, "pass a number, 0 or more")
    if agent.when_waiting not in WHEN_WAITING:
        raise InvalidInput("agent.when_waiting", f"is {quote(agent.when_waiting)}", f"use {' or '.join(WHEN_WAITING)}")


def _is_number(value: object) -> bool:
    return _is_whole(value) or (isinstance(value, float) and not isnan(value))


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
