"""The description of the API, as OpenAPI 3.1: what FastAPI reads off the routes, and what holds for all of them.

What stays true: each status that an operation may answer with is in its description; parameters that are not in it
are refused, so that a slip of the pen is told and not ignored.
"""

from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI, Request
from fastapi.openapi.utils import get_openapi
from starlette.routing import compile_path

from conversation.errors import InvalidInput
from producers.http.idempotency import MAKES_SECRET_ENDS
from producers.http.request_record import route_of
from producers.http.request_shapes import ID_SCHEMA

#: Characters of a parameter's name that a problem repeats: one that is longer is none of ours.
FIELD_MAX_CHARS = 80

API_DESCRIPTION = """\
Threads, messages and turns of durable conversations, and their events as they come.

Every request carries a key or a token: `Authorization: Bearer …`. Errors are problems of RFC 9457. Lists are pages:
hand `next_cursor` back as `cursor` until it is null. A `POST` with an `Idempotency-Key` may be sent again safely.
"""

#: What operations of each kind may answer with beside their own statuses.
_ALL_STATUSES = {
    "400": "A field or a parameter cannot be taken: the problem names it, and how to mend it.",
    "401": "No key or token that holds came with the request.",
    "403": "The key or token does not allow this.",
    "413": "The body is too large.",
    "429": "Too many requests, or the tenant is at a limit: send it again after `Retry-After`.",
    "500": "A fault of the server.",
    "503": "The database or the file store is away: send it again after `Retry-After`.",
    "504": "The request took too long and was given up.",
}
_BODY_STATUSES = {"408": "The body did not come whole in time.", "415": "The body is of another media type."}
_CHANGE_STATUSES = {"409": "It is in another state than this needs."}
_POST_STATUSES = {
    "409": "It is in another state than this needs, or a request with the same `Idempotency-Key` is being worked on.",
    "422": "The `Idempotency-Key` was used with another request, or a file breaks a limit.",
}
_ETAG_STATUSES = {"412": "It was changed since: it has another `ETag`."}
_PATH_STATUSES = {"404": "It does not exist, or not for this key."}
_PROBLEM_SCHEMA = {
    "type": "object",
    "title": "Problem",
    "description": "What is wrong, by RFC 9457.",
    "required": ["type", "title", "status", "detail", "retryable", "request_id"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference", "description": "The kind of problem."},
        "title": {"type": "string", "description": "The same for each problem of a kind."},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "field": {"type": "string", "description": "Which field or parameter is wrong."},
        "problem": {"type": "string", "description": "What is wrong with it."},
        "fix": {"type": "string", "description": "What to do about it."},
        "retryable": {"type": "boolean", "description": "Whether the very same request may succeed later."},
        "request_id": {"type": "string"},
    },
}
_SECURITY_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "A key of `threadmill keys create`, or a JWT."}
}
#: Where an answer has what other operations ask for, by operation: its status, the parameter, and the value's place.
_LINKS = {
    ("post", "/v1/threads"): ("201", "thread_id", "$response.body#/id"),
    ("post", "/v1/threads/{thread_id}/fork"): ("201", "thread_id", "$response.body#/id"),
    ("post", "/v1/threads/{thread_id}/messages"): ("202", "turn_id", "$response.body#/turn/id"),
    ("post", "/v1/webhooks"): ("201", "webhook_id", "$response.body#/webhook/id"),
    ("post", "/v1/inbound-sources"): ("201", "source_id", "$response.body#/source/id"),
    ("post", "/v1/schedules"): ("201", "schedule_id", "$response.body#/id"),
    ("post", "/v1/uploads"): ("201", "upload_id", "$response.body#/id"),
}
#: What parameters of these names are made of, beside what their routes say.
_PARAMETER_SCHEMAS: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("thread_id", "user", "key"), ID_SCHEMA),
    "sha256": {"pattern": "^[0-9a-f]{64}$"},
    "cursor": {"minLength": 1, "maxLength": 200},
}
_IDEMPOTENCY_PARAMETER = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!#-+\\--:<-~]+$"},
    "description": "A word of the client's own, best a UUID: the same request under the same key is done once.",
}


def describe_api(app: FastAPI) -> dict[str, Any]:
    """The description of an app; made once."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title,
            version=app.version,
            description=app.description,
            routes=app.routes,
            openapi_version="3.1.0",
        )
        for path, method, operation in list_operations(document):
            _complete(path, method, operation)
        _add_links(document)
        components = document.setdefault("components", {})
        components["securitySchemes"] = _SECURITY_SCHEMES
        schemas = components.setdefault("schemas", {})
        schemas["Problem"] = _PROBLEM_SCHEMA
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        app.openapi_schema = document
    return app.openapi_schema


def list_operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """The operations of a description: path, method, and what is said of it."""
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield path, method, operation


def parameter_names(app: FastAPI, route: str, method: str) -> set[str]:
    """The query parameters that an operation takes."""
    operation = describe_api(app)["paths"].get(route, {}).get(method.lower(), {})
    return {each["name"] for each in operation.get("parameters", ()) if each["in"] == "query"}


def list_methods(app: FastAPI, path: str) -> list[str]:
    """The methods that a path has."""
    routes = describe_api(app)["paths"]
    return sorted(
        method.upper() for route in routes if compile_path(route)[0].fullmatch(path) for method in routes[route]
    )


def check_parameters(request: Request) -> None:
    """Refuse query parameters that the operation of a request does not have. Raises `InvalidInput`."""
    if not request.query_params:
        return
    known = parameter_names(request.app, route_of(request.scope) or "", request.method)
    for name in request.query_params:
        if name not in known:
            parameters = ", ".join(sorted(known)) or "none"
            raise InvalidInput(name[:FIELD_MAX_CHARS], "is no parameter of this operation", f"it has: {parameters}")


def _complete(path: str, method: str, operation: dict[str, Any]) -> None:
    """Say of an operation what holds for all of its kind."""
    responses = operation["responses"]
    # FastAPI's own, which no handler answers with.
    if "HTTPValidationError" in str(responses.get("422", "")):
        del responses["422"]
    statuses = _statuses_of(path, method, operation)
    for parameter in operation.get("parameters", ()):
        schemas = parameter["schema"].get("anyOf", [parameter["schema"]])
        schemas[0].update(_PARAMETER_SCHEMAS.get(parameter["name"], {}))
    if path.startswith("/v1/inbound/"):
        # It is signed, as its source says.
        operation["security"] = []
    elif not path.startswith("/health"):
        operation["security"] = [{"bearer": []}]
        if method == "post" and not path.endswith(MAKES_SECRET_ENDS):
            operation.setdefault("parameters", []).append(_IDEMPOTENCY_PARAMETER)
    for status, description in statuses.items():
        response = responses.setdefault(status, {"description": description})
        response["content"] = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}


def _add_links(document: dict[str, Any]) -> None:
    """Say which operations go on with what an operation makes."""
    operations = list(list_operations(document))
    for (method, path), (status, parameter, value) in _LINKS.items():
        followers = [
            other["operationId"]
            for place, _, other in operations
            if place.count("{") == 1 and f"{{{parameter}}}" in place
        ]
        links = {name: {"operationId": name, "parameters": {parameter: value}} for name in followers}
        document["paths"][path][method]["responses"][status]["links"] = links


def _statuses_of(path: str, method: str, operation: dict[str, Any]) -> dict[str, str]:
    """The problems that an operation may answer with, by their statuses."""
    if path.startswith("/health"):
        own = {"503": "The gateway cannot serve now."} if path.endswith("ready") else {}
        return own | {"413": _ALL_STATUSES["413"]}
    has_etag = any(each["name"].lower() == "if-match" for each in operation.get("parameters", ()))
    groups = [
        (True, _ALL_STATUSES),
        ("{" in path, _PATH_STATUSES),
        ("requestBody" in operation, _BODY_STATUSES),
        (method != "get", _CHANGE_STATUSES),
        (method == "post", _POST_STATUSES),
        (has_etag, _ETAG_STATUSES),
    ]
    return {status: text for holds, group in groups if holds for status, text in group.items()}
