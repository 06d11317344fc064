"""Translation of what a provider, or a library in front of it, answers in place of a reply, into `ModelError`.

What stays true: the text of an error is ours and quotes nobody; what the provider said stands beside it, short and
without keys; its `kind` is one of those below, whatever the provider and whichever road led to it; the original
exception, which may hold a key, is not chained to it.

| kind               | retryable | when                                                            |
|--------------------|-----------|-----------------------------------------------------------------|
| rate_limited       | yes       | 429                                                             |
| unavailable        | yes       | 409, 425, 5xx, no connection, an answer that is no JSON         |
| timeout            | yes       | 408, no first byte or a silent stream within the time allowed   |
| stream_interrupted | yes       | the answer broke off, or ended without saying so                |
| insufficient_quota | no        | 402, or 429 because the account has no credit                   |
| unauthorized       | no        | 401, 403                                                        |
| not_found          | no        | 404: no such model, or a wrong address                          |
| context_length     | no        | the conversation is longer than the model takes                 |
| content_filtered   | no        | the provider's rules forbid the conversation, or the answer     |
| content_refused    | no        | the model declined to answer                                    |
| empty_reply        | no        | the model said nothing, twice                                   |
| truncated          | no        | cut at the token limit before the first word                    |
| reply_too_large    | no        | more text, arguments or tool calls than any answer needs        |
| refused            | no        | every other 4xx; a parameter that cannot be sent                |
| unexpected         | no        | an error of the library that says nothing of the provider       |

`reply_endings` has those of answers that came; this module those of requests that got none.
"""

import math
import os
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from agent.models.too_long import is_too_long, max_tokens_in
from conversation.error_sentences import MODEL_SENTENCES
from conversation.errors import ModelError
from conversation.foreign_exceptions import name_of

#: Long enough for a provider's reason, too short for a prompt that it echoes.
MESSAGE_MAX_CHARS = 300
#: What is read of a provider's words: patterns take their time, and a reason stands near the beginning.
READ_MAX_CHARS = 8_000
#: A shorter value is no key, and hiding it would tear holes into ordinary words.
SECRET_MIN_CHARS = 8

RETRYABLE = frozenset({"rate_limited", "unavailable", "timeout", "stream_interrupted"})

_KIND_BY_STATUS = {
    401: "unauthorized",
    402: "insufficient_quota",
    403: "unauthorized",
    404: "not_found",
    408: "timeout",
    409: "unavailable",
    425: "unavailable",
    429: "rate_limited",
}
#: The library's classes say more than the status that it gives them.
_KIND_BY_CLASS = {
    "ContextWindowExceededError": "context_length",
    "ContentPolicyViolationError": "content_filtered",
    "APITimeoutError": "timeout",
    "TimeoutException": "timeout",
}
_KIND_BY_CODE = {
    "insufficient_quota": "insufficient_quota",
    "billing_hard_limit_reached": "insufficient_quota",
    "context_length_exceeded": "context_length",
    "content_policy_violation": "content_filtered",
    "content_filter": "content_filtered",
    "data_inspection_failed": "content_filtered",
}
#: How libraries say that there is no key: no request was sent, and none would be.
_MISSING_KEY_WORDS = re.compile(
    r"missing credentials|api[_ ]key client option must be set|missing \w* ?api key", re.IGNORECASE
)
#: How providers say without a code that their rules forbid the conversation.
_FILTER_WORDS = re.compile(
    r"content management policy|responsible ?ai ?policy|content[ _]filter|content_policy|safety system"
    r"|blocked by .{0,40}(?:safety|policy|filter)|inappropriate content|content exists risk",
    re.IGNORECASE,
)
#: Bases of what is raised when bytes stop flowing: of sockets, httpx, aiohttp.
_CONNECTION_CLASSES = frozenset({"OSError", "TransportError", "ClientError", "APIConnectionError"})
#: Bases of what a provider's words in mid-answer are raised as.
_ANSWERED_CLASSES = frozenset({"APIError", "AnsweredError"})

_SECRET_NAME = re.compile(r"key|token|secret|password|passwd|credential|authorization", re.IGNORECASE)
#: What keys look like, whole or with their middle starred out (`sk-proj-****abcd`), as providers echo them.
_SECRET_VALUE = re.compile(
    r"\b(?:sk|pk|rk|gsk|xai|hf)[-_][\w*.-]{8,}"
    r"|\bAIza[\w*-]{20,}|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|\beyJ[\w-]{10,}(?:\.[\w.-]+)?"
    r"|(?<=bearer )\S{8,}|(?<=basic )\S{8,}"
    r"|(?<=[?&]key=)[^\s&]+|(?<=://)[^\s/@]+(?=@)",
    re.IGNORECASE,
)
_LIBRARY_PREFIX = re.compile(r"(?<!\w)(?:(?:litellm\.)?\w*(?:Error|Exception|Timeout)(?: Error)?(?::| -)\s*)+")


class AnsweredError(Exception):
    """A provider's refusal, or an error that it sent in place of an answer or within one."""

    def __init__(
        self, message: str, *, status_code: int | None, body: object = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status_code = status_code
        #: What the provider says of the error, in its own format.
        self.body = body
        self.headers = headers or {}


def model_error(error: Exception, *, model: str, parameters: Mapping[str, Any], started: bool = False) -> ModelError:
    """Translate what the library raised. `started` says that a part of a stream had arrived."""
    error = getattr(error, "original_exception", None) or error
    kind = _kind(error, started=started)
    return ModelError(
        kind,
        f"{model}: {MODEL_SENTENCES[kind]} ({_source_of(error)})",
        retryable=kind in RETRYABLE,
        retry_after_seconds=_retry_after_seconds(_headers(error)) if kind in RETRYABLE else None,
        max_tokens=max_tokens_in(str(error)[:READ_MAX_CHARS]) if kind == "context_length" else None,
        is_ours=True,
        provider_text=shorten(str(error), parameters),
    )


def _source_of(error: Exception) -> str:
    """Where an error came from: the provider's HTTP status, or the type of what a library raised."""
    status = _status_of(error)
    return name_of(error) if status is None else f"HTTP status {status}"


def _kind(error: Exception, *, started: bool) -> str:
    classes = {base.__name__ for base in type(error).__mro__}
    kind_by_class = next((kind for name, kind in _KIND_BY_CLASS.items() if name in classes), None)
    kind_by_code = next((kind for code, kind in _KIND_BY_CODE.items() if code in _codes(error)), None)
    status = _status_of(error)
    # Before the status: some say it with a 429 or a 500, which would be tried again and again.
    words = str(error)[:READ_MAX_CHARS]
    text = f"{words} {_body_text(error)}"
    if is_too_long(text, status):
        return "context_length"
    if kind_by_class or kind_by_code:
        return str(kind_by_class or kind_by_code)
    if _MISSING_KEY_WORDS.search(words):
        return "unauthorized"
    if classes & _CONNECTION_CLASSES or (status is None and classes & _ANSWERED_CLASSES):
        return "stream_interrupted" if started else "unavailable"
    if _FILTER_WORDS.search(text) and _kind_of_status(status) == "refused":
        return "content_filtered"
    return _kind_of_status(status)


def _body_text(error: Exception) -> str:
    return str(getattr(error, "body", None) or "")[:READ_MAX_CHARS]


def _kind_of_status(status: int | None) -> str:
    if status is None:
        return "unexpected"
    return _KIND_BY_STATUS.get(status) or ("unavailable" if status >= 500 else "refused")


def _status_of(error: Exception) -> int | None:
    """The HTTP status of an error; of one that came as an event of a stream, its code."""
    body = getattr(error, "body", None)
    for status in (getattr(error, "status_code", None), body.get("code") if isinstance(body, dict) else None):
        if isinstance(status, int) and 100 <= status < 600:
            return status
    return None


def _codes(error: Exception) -> set[object]:
    body = getattr(error, "body", None)
    fields = body if isinstance(body, dict) else {}
    return {str(code) for code in (getattr(error, "code", None), fields.get("code"), fields.get("type"))}


def _headers(error: Exception) -> Mapping[str, str]:
    """The headers by lower-case name. Each library keeps them in an attribute of its own."""
    response = getattr(error, "response", None)
    headers = (
        getattr(error, "litellm_response_headers", None)
        or getattr(response, "headers", None)
        or getattr(error, "headers", None)
        or {}
    )
    return {str(name).lower(): str(value) for name, value in dict(headers).items()}


def _retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """Seconds from `Retry-After` (RFC 9110: seconds or a date) or from OpenAI's `retry-after-ms`."""
    milliseconds = _number(headers.get("retry-after-ms", ""))
    if milliseconds is not None:
        return milliseconds / 1000
    text = headers.get("retry-after", "")
    seconds = _number(text)
    return seconds if seconds is not None else _seconds_until(text)


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return max(number, 0) if math.isfinite(number) else None


def _seconds_until(date: str) -> float | None:
    try:
        moment = parsedate_to_datetime(date)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max((moment - datetime.now(UTC)).total_seconds(), 0)


def shorten(text: str, parameters: Mapping[str, Any]) -> str:
    """Remove keys from a provider's words, then shorten them, so that no half of a key is left at the end."""
    if len(text) > READ_MAX_CHARS:
        # Without its last word, which may be the half of a key.
        text = text[:READ_MAX_CHARS].rpartition(" ")[0]
    text = _LIBRARY_PREFIX.sub("", text, count=1).partition("Traceback (most recent call last)")[0]
    for secret in sorted(_secrets(parameters), key=len, reverse=True):
        text = text.replace(secret, "***")
    text = " ".join(_SECRET_VALUE.sub("***", text).split())
    return text if len(text) <= MESSAGE_MAX_CHARS else text[: MESSAGE_MAX_CHARS - 1] + "…"


def _secrets(parameters: Mapping[str, Any]) -> set[str]:
    """Values that must not be shown: of the request, and of this process's environment."""
    secrets_by_name = dict(_secret_items(parameters))
    secrets_by_name |= {name: value for name, value in os.environ.items() if _SECRET_NAME.search(name)}
    words = (word for value in secrets_by_name.values() for word in (value, *value.split()))
    return {word for word in words if len(word) >= SECRET_MIN_CHARS}


def _secret_items(parameters: Mapping[str, Any], *, are_headers: bool = False) -> Iterator[tuple[str, str]]:
    """The secrets among parameters, by name. Whatever is sent in a header may be one, however it is called."""
    for name, value in parameters.items():
        if isinstance(value, Mapping):
            yield from _secret_items(value, are_headers=str(name).endswith("headers"))
        elif isinstance(value, str) and (are_headers or _SECRET_NAME.search(str(name))):
            yield str(name), value
