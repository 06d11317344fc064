"""What a gateway knows of the request that it answers: its middleware and its routes share one record of it.

What stays true: the record is made where a request comes in and lives in its ASGI scope; nothing in it is secret.
"""

from dataclasses import dataclass, field
from typing import Any

from starlette.requests import HTTPConnection

from producers.http.principal import Principal

#: Where the scope of a request has its record.
_KEY = "threadmill.request"


@dataclass(slots=True)
class RequestRecord:
    """One request."""

    #: Of the client, or made; in the answer, in problems and in logs.
    id: str
    #: Who asks, once that is known.
    principal: Principal | None = None
    #: Headers that its answer gets, whatever the answer is.
    headers: dict[str, str] = field(default_factory=dict)


def put_record(scope: Any, record: RequestRecord) -> None:
    """Keep the record of a request in its scope."""
    scope[_KEY] = record


def record_of(request: HTTPConnection | Any) -> RequestRecord:
    """The record of a request, by itself or by its scope."""
    scope = request.scope if isinstance(request, HTTPConnection) else request
    record: RequestRecord = scope[_KEY]
    return record
