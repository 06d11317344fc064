"""Problems: errors as answers over HTTP, by RFC 9457.

What stays true: whoever can mend a request is told how, field by field; what only the operator can mend is in the
log, and its words are shown to nobody else. No answer repeats more of a request than the short name of a field.
"""

import json
import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from conversation.errors import (
    IdempotencyConflict,
    InvalidInput,
    OperatorError,
    ThreadBusy,
    ThreadmillError,
    UnknownAgent,
    UploadsNotSupported,
)
from conversation.foreign_exceptions import name_of, trace_of
from producers.http.openapi import FIELD_MAX_CHARS, list_methods
from producers.http.request_record import path_in_app, record_of
from producers.http.statuses import status_of

#: When to send a request again that may succeed then: what is away or full is so for some seconds at least.
RETRY_AFTER_SECONDS = 5
#: What the names of kinds of problems begin with.
TYPE_PREFIX = "urn:threadmill:problem:"
#: Statuses after which the very same request may succeed.
_RETRYABLE_STATUSES = frozenset({408, 425, 429, 502, 503, 504})
#: What to do about an invalid field, by pydantic's name of what is wrong with it.
_FIXES = {
    "missing": "send it",
    "extra_forbidden": "leave it out",
    "json_invalid": "send JSON (RFC 8259) as UTF-8",
    "less_than_equal": "send a smaller number",
    "greater_than_equal": "send a larger number",
    "int_parsing": "send a whole number",
    "literal_error": "send one of these words",
    "model_attributes_type": "send a JSON object, as `Content-Type: application/json`",
}

log = structlog.get_logger(__name__)


class Problem(Exception):
    """An answer that says what is wrong with a request, and how to mend it."""

    def __init__(
        self, status: int, title: str, detail: str, *, headers: dict[str, str] | None = None, **fields: Any
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.title = title
        self.detail = detail
        self.headers = headers or {}
        self.fields = fields


class ProblemResponse(JSONResponse):
    """A problem as an answer."""

    media_type = "application/problem+json"

    def __init__(self, problem: Problem, request_id: str) -> None:
        content = describe_problem(problem, request_id)
        headers = {"Retry-After": str(RETRY_AFTER_SECONDS)} if content["retryable"] else {}
        super().__init__(content, problem.status, headers | problem.headers)

    def render(self, content: Any) -> bytes:
        """In ASCII: the name of a field may hold half a character, which UTF-8 cannot say."""
        return json.dumps(content).encode("ascii")


def add_handlers(app: FastAPI) -> None:
    """Let an app answer with a problem whatever its routes raise on purpose."""
    for kind in (Problem, ThreadmillError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, _answer)


def describe_problem(problem: Problem, request_id: str) -> dict[str, Any]:
    """The body of a problem's answer."""
    slug = re.sub(r"[^a-z0-9]+", "-", problem.title.lower()).strip("-")
    return {
        "type": "about:blank" if problem.title == _phrase(problem.status) else TYPE_PREFIX + slug,
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail,
        "retryable": problem.status in _RETRYABLE_STATUSES,
        **problem.fields,
        "request_id": request_id,
    }


def problem_of(error: Exception) -> Problem:
    """The problem that an error is to the sender of a request. What is the operator's to mend is logged."""
    match error:
        case Problem():
            return error
        case ThreadmillError():
            return _problem_of_ours(error)
        case RequestValidationError():
            return invalid_request(error.errors())
        case HTTPException():
            return Problem(
                error.status_code, _phrase(error.status_code), str(error.detail), headers=dict(error.headers or {})
            )
        case _:
            log.error("http_request_broke", error=name_of(error), trace=trace_of(error))
            return Problem(500, _phrase(500), "This is a fault of the server; it was written to the log.")


def invalid_request(errors: Sequence[Mapping[str, Any]]) -> Problem:
    """The problem of a request that its route cannot read, by pydantic's errors: the first one is told."""
    place, *path = errors[0]["loc"]
    # An index, as of JSON that breaks off, names no field.
    field = ".".join(str(part)[:FIELD_MAX_CHARS] for part in path[:8] if errors[0]["type"] != "json_invalid")
    complaint = _complaint(errors[0])
    fix = _FIXES.get(errors[0]["type"], "see the description of this operation in /openapi.json")
    return invalid_input(InvalidInput(field or str(place), complaint, fix))


def key_conflict() -> Problem:
    """The problem of a key that was used with another request."""
    problem, fix = "was used with another request", "send this one under a new key"
    detail = f"Idempotency-Key: {problem}; {fix}"
    return Problem(422, "Idempotency key reused", detail, field="Idempotency-Key", problem=problem, fix=fix)


def invalid_input(error: InvalidInput) -> Problem:
    """The problem of a field that cannot be taken."""
    return Problem(400, "Invalid input", str(error), field=error.field, problem=error.problem, fix=error.fix)


def _complaint(error: Mapping[str, Any]) -> str:
    message = str(error["msg"]).removeprefix("Value error, ")
    # Not that of a word in capitals: JSON.
    return message if message[1:2].isupper() else message[:1].lower() + message[1:]


def _problem_of_ours(error: ThreadmillError) -> Problem:
    match error:
        case InvalidInput():
            return invalid_input(error)
        case IdempotencyConflict():
            return key_conflict()
        case ThreadBusy(turn_id=turn_id):
            return Problem(409, "Thread busy", str(error), retryable=True, turn_id=turn_id)
        case UploadsNotSupported():
            # No fault of the operator's: there is another road.
            detail = "this gateway keeps files where clients cannot reach them; send the file to /v1/files"
            return Problem(409, "Uploads not supported", detail)
        case UnknownAgent():
            # Unlike in a backend that chose the agent itself, here the request names it.
            complaint = str(error).removeprefix("agent: ").partition(";")[0]
            return invalid_input(InvalidInput("agent", complaint, "name one that a worker serves, or start the worker"))
    status = status_of(error)
    title = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(error).__name__).capitalize()
    detail = str(error)
    if status >= 500:
        # Our own words say what to do, and hold no secret.
        reason = detail if isinstance(error, OperatorError) else None
        log.error("http_request_failed", error=type(error).__name__, reason=reason)
        detail = "This cannot be done now; it was written to the log."
    return Problem(status, title, detail, retryable=error.retryable)


def _answer(request: Request, error: Exception) -> ProblemResponse:
    if isinstance(error, HTTPException) and error.status_code == 405:
        # The framework names the methods of one of the routes that have the path.
        methods = list_methods(request.app, path_in_app(request.scope))
        error.headers = {"Allow": ", ".join(methods)} if methods else error.headers
    return ProblemResponse(problem_of(error), record_of(request).id)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"
