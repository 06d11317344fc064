"""The record of a request that a gateway answers: its middleware and its routes share it.

What stays true: the record is made where a request comes in and lives in its ASGI scope; nothing in it is secret.
"""

from dataclasses import dataclass, field

from starlette.requests import HTTPConnection
from starlette.types import Scope

from producers.http.principal import Principal

#: Where the scope of a request has its record.
_KEY = "threadmill.request"
#: Before the paths of resources: a router's own do not have it where an app includes routers as they are.
_PREFIX = "/v1"
#: Paths that begin so have no prefix.
_OWN_PATHS = (_PREFIX, "/health", "/openapi")


@dataclass(slots=True)
class RequestRecord:
    """One request."""

    #: Of the client, or made; in the answer, in problems and in logs.
    id: str
    #: Who asks, once that is known.
    principal: Principal | None = None
    #: Headers that its answer gets, whatever the answer is.
    headers: dict[str, str] = field(default_factory=dict)
    #: The id of what a request makes that is to be done once; None for others.
    made_id: str | None = None
    #: An earlier run of the same request broke off: what it makes may be there already.
    is_repeat: bool = False


def put_record(scope: Scope, record: RequestRecord) -> None:
    """Keep the record of a request in its scope."""
    scope[_KEY] = record


def record_of(request: HTTPConnection | Scope) -> RequestRecord:
    """The record of a request, by itself or by its scope."""
    scope = request.scope if isinstance(request, HTTPConnection) else request
    record: RequestRecord = scope[_KEY]
    return record


def route_of(scope: Scope) -> str | None:
    """The template of the path that a request came to; None where no route has it."""
    path = getattr(scope.get("route"), "path", None)
    if path is None:
        return None
    return str(path) if path.startswith(_OWN_PATHS) else f"{_PREFIX}{path}"


def path_in_app(scope: Scope) -> str:
    """The path of a request within the gateway, wherever that is mounted."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", "")) or "/"
