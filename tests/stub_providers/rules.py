"""What the checks of all formats share: a broken rule as an exception, and JSON as strict parsers read it."""

import json
import re
from typing import Any

TOOL_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Refused(Exception):
    """A request broke a rule; the text says which."""


def require(condition: object, rule: str) -> None:
    """Refuse the request unless the condition holds."""
    if not condition:
        raise Refused(rule)


def check_keys(value: Any, allowed: set[str], place: str) -> None:
    """Refuse keys that the format does not have."""
    require(isinstance(value, dict), f"{place} is no object")
    require(not value.keys() - allowed, f"{place} has unknown keys {sorted(value.keys() - allowed)}")


def parse(data: bytes) -> Any:
    """Parse strict JSON: no NaN, no half characters, no number beyond a double."""

    def refuse(name: str) -> None:
        raise Refused(f"{name} is no JSON")

    def read_float(text: str) -> float:
        require(abs(float(text)) != float("inf"), f"{text[:20]} is no number")
        return float(text)

    value = json.loads(data.decode("utf-8"), parse_constant=refuse, parse_float=read_float)
    json.dumps(value, ensure_ascii=False).encode("utf-8")
    return value


def check_arguments(text: Any) -> None:
    """Refuse arguments of a call that are not the text of one JSON object."""
    require(isinstance(text, str), "arguments are no text")
    try:
        value = parse(text.encode("utf-8"))
    except ValueError:
        raise Refused("arguments are no JSON") from None
    require(isinstance(value, dict), "arguments are no object")


def check_schema(schema: Any, place: str = "schema", *, refs: bool = True, gemini: bool = False) -> None:
    """Refuse a schema of a tool that the provider does not read."""
    require(isinstance(schema, dict), f"{place} is no object")
    if not refs:
        require("$ref" not in schema and "$defs" not in schema, f"{place} has a $ref")
    if gemini:
        check_keys(schema, GEMINI_SCHEMA, place)
        require(all(isinstance(item, str) and item for item in schema.get("enum", ())), f"{place}.enum is not text")
    for name, part in schema.get("properties", {}).items():
        check_schema(part, f"{place}.{name}", refs=refs, gemini=gemini)
    for key in ("anyOf", "prefixItems"):
        for part in schema.get(key, ()):
            check_schema(part, f"{place}.{key}", refs=refs, gemini=gemini)
    if isinstance(schema.get("items"), dict):
        check_schema(schema["items"], f"{place}.items", refs=refs, gemini=gemini)


GEMINI_SCHEMA = {
    *("type", "format", "title", "description", "nullable", "enum", "items", "properties", "required", "anyOf"),
    *("minItems", "maxItems", "minProperties", "maxProperties", "minLength", "maxLength", "minimum", "maximum"),
    *("pattern", "propertyOrdering", "default", "example"),
}
