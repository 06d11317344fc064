"""Threadmill's errors as answers over HTTP: the one place that says which status each of them is.

What stays true: whoever can mend a request is told how, field by field; what only the operator can mend is in the log,
and its words are shown to nobody else. `docs/reference/errors.md` has the same table, and a test compares them.
"""

import logging
from typing import Any

import threadmill
from threadmill import InvalidInput, ThreadmillError

STATUSES: dict[type[ThreadmillError], int] = {
    threadmill.UserError: 400,
    threadmill.ThreadNotFound: 404,
    threadmill.BranchNotFound: 404,
    threadmill.MessageNotFound: 404,
    threadmill.TurnNotFound: 404,
    threadmill.PendingCallNotFound: 404,
    threadmill.ScheduleNotFound: 404,
    threadmill.InboundSourceNotFound: 404,
    threadmill.UploadNotFound: 404,
    threadmill.WebhookNotFound: 404,
    threadmill.FileNotStored: 404,
    threadmill.IdempotencyConflict: 409,
    threadmill.BranchInUse: 409,
    threadmill.TurnNotRequeueable: 409,
    threadmill.AlreadyDecided: 409,
    threadmill.DigestMismatch: 409,
    threadmill.UploadIncomplete: 409,
    threadmill.FileNotReady: 409,
    threadmill.ThreadUnderLegalHold: 409,
    threadmill.TitleConflict: 409,
    threadmill.FileRejected: 422,
    threadmill.ThreadBusy: 409,
    threadmill.LimitReached: 429,
    threadmill.MessagesNotLoaded: 500,
    ThreadmillError: 500,
    threadmill.UploadsNotSupported: 501,
    threadmill.ModelError: 502,
    threadmill.TurnFailed: 502,
    # Here the backend names the agent, by a setting. Where a request names it, 400 is the better answer.
    threadmill.UnknownAgent: 503,
    threadmill.DatabaseUnavailable: 503,
    threadmill.FileStoreUnavailable: 503,
    threadmill.ToolServerUnavailable: 503,
}
#: When to send a request again that may succeed then: what is away or full is so for some seconds at least.
RETRY_AFTER_SECONDS = 5
#: RFC 9457.
MEDIA_TYPE = "application/problem+json"

log = logging.getLogger(__name__)


def status_of(error: ThreadmillError) -> int:
    """The status of an error: that of its own class, else of the nearest one above it."""
    return next(STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES)


def describe_problem(error: ThreadmillError) -> tuple[dict[str, Any], int, dict[str, str]]:
    """Describe an error as the body, the status and the headers of an answer."""
    status = status_of(error)
    body = {"title": type(error).__name__, "status": status, "detail": str(error), "retryable": error.retryable}
    if isinstance(error, InvalidInput):
        body |= {"field": error.field, "problem": error.problem, "fix": error.fix}
    if status >= 500:
        log.error("%s: %s", type(error).__name__, error)
        body["detail"] = "This cannot be done now; it was written to the log."
    return body, status, {"Retry-After": str(RETRY_AFTER_SECONDS)} if error.retryable else {}
