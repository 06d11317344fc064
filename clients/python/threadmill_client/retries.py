"""When a request is sent again, and after how long.

What stays true: each try sends the same bytes under the same idempotency key, so nothing is done twice; what no key
can guard is sent once. Tries are bounded, in number and in the time between them.
"""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from functools import partial
from itertools import count
from typing import Any, TypeVar

from threadmill_client.errors import ConnectionLost, Problem, UnexpectedAnswer, problem_class
from threadmill_client.wire import Answer, Pause, Plan, Request, Steps, Work

T = TypeVar("T")

#: After these the same request may succeed, unless the gateway says that it cannot.
_PASSING_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True, kw_only=True)
class Retries:
    """How persistently a request is sent."""

    #: How often it is sent again, at most.
    limit: int = 5
    #: Before the first repetition, about; twice as long before each further one.
    first_pause_seconds: float = 0.25
    longest_pause_seconds: float = 10
    #: What a `Retry-After` may ask for; a longer time is the caller's to wait.
    longest_wait_seconds: float = 60
    #: Between 0 and 1: many clients that lost one gateway do not come back at once.
    draw: Callable[[], float] = random.random

    def pause_before(self, repetition: int, wanted_seconds: float | None = None) -> float | None:
        """Seconds to wait before this repetition, from 1; None where there is to be none."""
        if repetition > self.limit:
            return None
        if wanted_seconds is not None and wanted_seconds > self.longest_wait_seconds:
            return None
        grown = min(self.first_pause_seconds * 2.0 ** (repetition - 1), self.longest_pause_seconds)
        return (wanted_seconds or grown / 2) + grown / 2 * self.draw()


def carry_out(plan: Plan[T], retries: Retries) -> Steps[T]:
    """The steps of a plan with each try of its requests."""
    proceed: Callable[[], Request | Work | Pause] = partial(next, plan)
    while True:
        try:
            step = proceed()
        except StopIteration as stop:
            result: T = stop.value
            return result
        try:
            outcome = yield from _send(step, retries) if isinstance(step, Request) else _do(step)
        except Exception as error:  # noqa: BLE001 - the plan is told of it, and raises it where it has no answer
            proceed = partial(plan.throw, error)
        else:
            proceed = partial(plan.send, outcome)


def _do(step: Work | Pause) -> Steps[Any]:
    return (yield step)


def _send(request: Request, retries: Retries) -> Steps[Answer]:
    for attempts in count(1):
        failure: ConnectionLost | Problem
        wanted = None
        try:
            answer: Answer = yield request
        except ConnectionLost as error:
            failure = error
        else:
            answer = replace(answer, attempts=attempts)
            if is_success(answer, request):
                return answer
            failure = problem_of(answer)
            if not may_pass(failure):
                raise failure
            wanted = failure.retry_after_seconds
        pause = None if request.is_sent_once else retries.pause_before(attempts, wanted)
        if pause is None:
            raise failure
        yield Pause(pause)
    raise AssertionError


def is_success(answer: Answer, request: Request) -> bool:
    """Whether an answer is what was asked for. Raises `UnexpectedAnswer` for one that points elsewhere."""
    if answer.status in _REDIRECTS and not request.may_redirect:
        raise UnexpectedAnswer(f"HTTP {answer.status}: the gateway is elsewhere; make that the base_url")
    return 200 <= answer.status < 400


def problem_of(answer: Answer) -> Problem:
    """The error that an answer tells of, whether it is one of the gateway or of a proxy."""
    try:
        body = json.loads(answer.body)
    except ValueError:
        body = None
    return problem_class(answer.status)(
        answer.status,
        body if isinstance(body, dict) else {},
        attempts=answer.attempts,
        retry_after_seconds=read_retry_after(answer.headers.get("retry-after")),
    )


def may_pass(failure: Problem) -> bool:
    """Whether the same request may succeed later: as the gateway says, else by the status."""
    if failure.status == 409:
        # One that is in flight under the same idempotency key, unlike one that stands in the way.
        return failure.retryable is True
    return failure.status in _PASSING_STATUSES and failure.retryable is not False


def read_retry_after(value: str | None) -> float | None:
    """The seconds that a `Retry-After` asks for: it has seconds or a date; None where it has neither."""
    if value is None:
        return None
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return max(0.0, (moment - datetime.now(timezone.utc)).total_seconds())
