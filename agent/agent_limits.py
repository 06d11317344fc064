"""The limits of an agent, checked where it is made."""

from typing import Any

from conversation.errors import InvalidInput

_POSITIVE_LIMITS = ("max_messages", "max_steps", "max_turn_seconds", "model_timeout_seconds", "model_silence_seconds")
_POSITIVE_OR_NONE = ("max_summary_tokens", "max_summary_cost", "wait_expire_seconds")
_NEVER_NEGATIVE = ("max_file_tokens", "max_turn_retry_seconds", "max_depth", "max_children")
WHEN_WAITING = ("block", "go_on")


def check_limits(agent: Any) -> None:
    """Raise `InvalidInput` for a limit that no run could keep."""
    for limit in _POSITIVE_LIMITS:
        if getattr(agent, limit) <= 0:
            raise InvalidInput(f"agent.{limit}", f"is {getattr(agent, limit)}", "pass a number above 0")
    for limit in _POSITIVE_OR_NONE:
        if (value := getattr(agent, limit)) is not None and value <= 0:
            raise InvalidInput(f"agent.{limit}", f"is {value}", "pass a number above 0, or None")
    if agent.max_turn_attempts is not None and agent.max_turn_attempts < 1:
        raise InvalidInput("agent.max_turn_attempts", f"is {agent.max_turn_attempts}", "pass at least 1, or None")
    for limit in _NEVER_NEGATIVE:
        if (value := getattr(agent, limit)) is not None and value < 0:
            fix = "pass 0 or more" if limit == "max_file_tokens" else "pass 0 or more, or None"
            raise InvalidInput(f"agent.{limit}", f"is {value}", fix)
    if agent.when_waiting not in WHEN_WAITING:
        raise InvalidInput("agent.when_waiting", f"is {agent.when_waiting!r}", f"use {' or '.join(WHEN_WAITING)}")
