"""Makes `http.md` out of the gateway's own description: `python docs/reference/make_http.py --write`.

What stays true: nothing is written twice. Routes, parameters, fields and their words come from OpenAPI, as the gateway
serves it; a test compares the page with what is made here.
"""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from producers.http.app import create_gateway
from producers.http.open_access import OpenAccess
from producers.http.openapi import list_operations
from store.settings import load

PAGE = Path(__file__).with_name("http.md")
INTRODUCTION = """\
# HTTP

The routes of [the gateway](../how-to/serve-the-gateway.md). `/openapi.json` says the same for programs, as OpenAPI 3.1.

- Every request carries a key or a token: `Authorization: Bearer …`; only `/health` and `/openapi.json` do not.
- Bodies and answers are JSON, times RFC 3339 in UTC. Unknown fields and parameters are refused.
- Lists are pages: `next_cursor` is handed back as `cursor`, until it is null.
- Errors are problems of RFC 9457 (`application/problem+json`). Any route may answer with 400, 401, 403, 404, 429, 500,
  503 or 504, one with a body with 408, 413 or 415, a `POST` with 409 or 422; other statuses are named below.
- A `POST` with an `Idempotency-Key` is done once.

This page is made by `python docs/reference/make_http.py --write`.
"""
#: Statuses that any route may have: the introduction tells them.
COMMON_STATUSES = {"400", "401", "403", "404", "408", "409", "413", "415", "422", "429", "500", "503", "504"}


def page() -> str:
    """The whole page, as Markdown."""
    settings = load(database_url="sqlite:///:memory:")
    document = create_gateway(settings, authenticator=OpenAccess("127.0.0.1")).openapi()
    return INTRODUCTION + "".join(f"{line}\n" for line in lines(document))


def lines(document: dict[str, Any]) -> Iterator[str]:
    """The lines of all resources, in the order of the routes."""
    operations = list(list_operations(document))
    for tag in dict.fromkeys(operation["tags"][0] for _, _, operation in operations):
        yield ""
        yield f"## {tag.replace('_', ' ').capitalize()}"
        for path, method, operation in operations:
            if operation["tags"][0] == tag:
                yield from operation_lines(document, path, method, operation)


def operation_lines(document: dict[str, Any], path: str, method: str, operation: dict[str, Any]) -> Iterator[str]:
    """The lines of one operation."""
    yield ""
    yield f"### `{method.upper()} {path}`"
    yield ""
    yield operation.get("description", operation.get("summary", ""))
    rows = [*parameter_rows(operation), *body_rows(document, operation)]
    if rows:
        yield ""
        yield "| | what | meaning |"
        yield "|---|---|---|"
        yield from rows
    yield ""
    yield from answer_lines(operation)


def parameter_rows(operation: dict[str, Any]) -> Iterator[str]:
    """A row for each parameter."""
    for each in operation.get("parameters", ()):
        if each["in"] == "path" or each["name"] == "Idempotency-Key":
            continue
        name = f"`?{each['name']}=`" if each["in"] == "query" else f"`{each['name']}:`"
        yield f"| {name} | {type_of(each['schema'])} | {sentence(each.get('description') or '')} |"


def body_rows(document: dict[str, Any], operation: dict[str, Any]) -> Iterator[str]:
    """A row for each field of the body."""
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        schema = resolve(document, content.get("schema", {}))
        for name, field in schema.get("properties", {}).items():
            mark = ", required" if name in schema.get("required", ()) else ""
            where = "in a form" if kind.startswith("multipart") else "in the body"
            yield f"| `{name}` {where} | {type_of(field)}{mark} | {sentence(field.get('description', ''))} |"


def answer_lines(operation: dict[str, Any]) -> Iterator[str]:
    """A line for each status that is this operation's own."""
    for status, response in operation["responses"].items():
        if status in COMMON_STATUSES and "problem" in "".join(response.get("content", {})):
            continue
        shapes = [type_of(content.get("schema", {})) for content in response.get("content", {}).values()]
        kinds = [kind for kind in response.get("content", {}) if kind != "application/json"]
        words = response["description"]
        text = f"{status}: {', '.join(dict.fromkeys(filter(None, shapes + kinds)))}".rstrip(": ")
        yield f"- {text}" + ("" if words == "Successful Response" else f": {sentence(words)}")


def resolve(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """A schema, behind its name."""
    name = schema.get("$ref", "").rpartition("/")[2]
    return document["components"]["schemas"][name] if name else schema


def _plain(number: float) -> str:
    """A number without a point, where it is whole."""
    return str(int(number)) if number == int(number) else str(number)


def type_of(schema: dict[str, Any]) -> str:
    """The type of a value, in words."""
    if "$ref" in schema:
        return schema["$ref"].rpartition("/")[2]
    if "anyOf" in schema or "oneOf" in schema:
        kinds = [type_of(each) for each in schema.get("anyOf", schema.get("oneOf", ()))]
        return " or ".join(dict.fromkeys(kinds))
    if "enum" in schema or "const" in schema:
        return " or ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    ends = (("minimum", "from"), ("maximum", "to"))
    bounds = [f"{word} {_plain(schema[key])}" for key, word in ends if key in schema]
    bounds += [f"default `{json.dumps(schema['default'])}`"] if schema.get("default") is not None else []
    kind = schema.get("format") or schema.get("type", "")
    if kind == "array":
        kind = f"list of {type_of(schema.get('items', {})) or 'values'}"
    return ", ".join(filter(None, [str(kind), *bounds]))


def sentence(text: str) -> str:
    """A text for a cell of a table."""
    return re.sub(r"\s+", " ", text).replace("|", "\\|").strip()


if __name__ == "__main__":
    if "--write" in sys.argv:
        PAGE.write_text(page())
    else:
        sys.stdout.write(page())
