"""Problems: errors as answers over HTTP, by RFC 9457.

What stays true: whoever can mend a request is told how, field by field; what only the operator can mend is in the
log, and its words are shown to nobody else. No answer repeats what the request said, but for names of fields.
"""

import re
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from conversation.errors import InvalidInput, ThreadmillError, UnknownAgent
from producers.http.request_record import record_of
from producers.http.statuses import status_of

MEDIA_TYPE = "application/problem+json"
#: When to send a request again that may succeed then: what is away or full is so for some seconds at least.
RETRY_AFTER_SECONDS = 5
#: What the names of kinds of problems begin with.
TYPE_PREFIX = "urn:threadmill:problem:"
#: Statuses after which the very same request may succeed.
_RETRYABLE_STATUSES = frozenset({408, 425, 429, 502, 503, 504})

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


def add_handlers(app: FastAPI) -> None:
    """Let an app answer with a problem whatever its routes raise."""
    app.add_exception_handler(Problem, _answer_problem)
    app.add_exception_handler(ThreadmillError, _answer_error)
    app.add_exception_handler(RequestValidationError, _answer_invalid_request)
    app.add_exception_handler(HTTPException, _answer_http_exception)


def describe_problem(error: Problem, request_id: str) -> dict[str, Any]:
    """The body of a problem's answer."""
    is_plain = error.title == HTTPStatus(error.status).phrase
    slug = re.sub(r"[^a-z0-9]+", "-", error.title.lower()).strip("-")
    return {
        "type": "about:blank" if is_plain else TYPE_PREFIX + slug,
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        "retryable": error.status in _RETRYABLE_STATUSES,
        **error.fields,
        "request_id": request_id,
    }


def problem_response(error: Problem, request_id: str) -> JSONResponse:
    """A problem as an answer."""
    body = describe_problem(error, request_id)
    headers = {"Retry-After": str(RETRY_AFTER_SECONDS)} if body["retryable"] else {}
    return JSONResponse(body, error.status, headers | error.headers, media_type=MEDIA_TYPE)


def problem_of(error: ThreadmillError) -> Problem:
    """An error of Threadmill's as a problem."""
    # Unlike in a backend that chose the agent itself, here the request names it.
    status = 400 if isinstance(error, UnknownAgent) else status_of(error)
    title = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(error).__name__).capitalize()
    fields: dict[str, Any] = {"retryable": error.retryable}
    if isinstance(error, InvalidInput):
        fields |= {"field": error.field, "problem": error.problem, "fix": error.fix}
    detail = str(error) if status < 500 else "This cannot be done now; it was written to the log."
    return Problem(status, title, detail, **fields)


def _answer_problem(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Problem)
    return problem_response(error, record_of(request).id)


def _answer_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ThreadmillError)
    problem = problem_of(error)
    if problem.status >= 500:
        log.error("request_failed", error=type(error).__name__, request_id=record_of(request).id)
    return problem_response(problem, record_of(request).id)


def _answer_invalid_request(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"][1:]) or str(first["loc"][0])
    problem = Problem(400, "Invalid input", f"{field}: {first['msg']}", field=field, problem=first["msg"])
    return problem_response(problem, record_of(request).id)


def _answer_http_exception(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    problem = Problem(
        error.status_code, HTTPStatus(error.status_code).phrase, error.detail, headers=dict(error.headers or {})
    )
    return problem_response(problem, record_of(request).id)
