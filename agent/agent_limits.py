"""The limits of an agent, checked where it is made."""

from typing import Any

from conversation.errors import InvalidInput

_POSITIVE_LIMITS = ("max_messages", "max_steps", "max_turn_seconds", "model_timeout_seconds", "model_silence_seconds")
_POSITIVE_OR_NONE = ("max_summary_tokens", "max_summary_cost", "wait_expire_seconds")
WHEN_WAITING = ("block", "go_on")


def check_limits(agent: Any) -> None:
    """Raise `InvalidInput` for a limit that no run could keep."""
    for limit in _POSITIVE_LIMITS:
        if getattr(agent, limit) <= 0:
            raise InvalidInput(f"agent.{limit}", f"is {getattr(agent, limit)}", "pass a number above 0")
    if agent.max_file_tokens < 0:
        raise InvalidInput("agent.max_file_tokens", f"is {agent.max_file_tokens}", "pass 0 or more")
    for limit in _POSITIVE_OR_NONE:
        if (value := getattr(agent, limit)) is not None and value <= 0:
            raise InvalidInput(f"agent.{limit}", f"is {value}", "pass a number above 0, or None")
    if agent.max_turn_attempts is not None and agent.max_turn_attempts < 1:
        raise InvalidInput("agent.max_turn_attempts", f"is {agent.max_turn_attempts}", "pass at least 1, or None")
    if agent.max_turn_retry_seconds is not None and agent.max_turn_retry_seconds < 0:
        problem = f"is {agent.max_turn_retry_seconds}"
        raise InvalidInput("agent.max_turn_retry_seconds", problem, "pass 0 or more, or None")
    if agent.when_waiting not in WHEN_WAITING:
        raise InvalidInput("agent.when_waiting", f"is {agent.when_waiting!r}", f"use {' or '.join(WHEN_WAITING)}")
