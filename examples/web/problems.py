"""Threadmill's errors as answers over HTTP. Which status each of them is, Threadmill's own gateway says as well.

What stays true: whoever can mend a request is told how, field by field; what only the operator can mend is in the log,
and its words are shown to nobody else.
"""

import logging
from typing import Any

from producers.http.statuses import status_of
from threadmill import InvalidInput, ThreadmillError

#: When to send a request again that may succeed then: what is away or full is so for some seconds at least.
RETRY_AFTER_SECONDS = 5
#: RFC 9457.
MEDIA_TYPE = "application/problem+json"

log = logging.getLogger(__name__)


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
