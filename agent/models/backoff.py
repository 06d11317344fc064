"""Retries of a model call: how long to wait before the next attempt, and when to stop.

What stays true: only a `ModelError` that says it is retryable is tried again, and not once the model's breaker is
open; a provider that asked for a pause gets at least that pause, or, when it is longer than we wait here, no further
attempt.
"""

import random
from dataclasses import dataclass

import structlog
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt
from tenacity.wait import wait_random_exponential

from conversation.errors import ModelError

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Exponential backoff with full jitter: a random wait, up to a bound that doubles."""

    #: Bound of the first wait; it doubles with each attempt.
    initial_seconds: float = 0.5
    #: Bound of every later wait.
    max_seconds: float = 30
    #: A longer pause than this is left to the retry of the whole turn: no worker is held up for it.
    retry_after_max_seconds: float = 60

    def attempts(self, count: int, *, model: str) -> AsyncRetrying:
        """Up to `count` attempts to iterate over; the last one's error is raised as it is."""
        return AsyncRetrying(
            stop=stop_after_attempt(count),
            wait=self._wait_seconds,
            retry=retry_if_exception(self._is_worth_retry),
            before_sleep=lambda state: _log_failed_attempt(state, model),
            reraise=True,
        )

    def _is_worth_retry(self, error: BaseException) -> bool:
        if not isinstance(error, ModelError) or not error.retryable or error.breaker is not None:
            return False
        return (error.retry_after_seconds or 0) <= self.retry_after_max_seconds

    def _wait_seconds(self, state: RetryCallState) -> float:
        requested_seconds = _error_of(state).retry_after_seconds
        if requested_seconds is None:
            return wait_random_exponential(multiplier=self.initial_seconds, max=self.max_seconds)(state)
        # Every caller got the same moment: spread out after it, never before it.
        return requested_seconds + random.uniform(0, self.initial_seconds)  # noqa: S311  no secret depends on it


def _log_failed_attempt(state: RetryCallState, model: str) -> None:
    _log.warning(
        "model_attempt_failed",
        model=model,
        kind=_error_of(state).kind,
        attempt=state.attempt_number,
        wait_seconds=round(state.upcoming_sleep, 3),
    )


def _error_of(state: RetryCallState) -> ModelError:
    error = state.outcome.exception() if state.outcome else None
    assert isinstance(error, ModelError), "nothing else is tried again"
    return error
