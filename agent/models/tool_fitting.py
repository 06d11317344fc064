"""Declarations of tools, fitted to a provider: schemas that it reads, and tools of the history that it asks for.

What stays true: a schema that is fitted accepts whatever the tool's own does; the tool checks its arguments
itself. Names are not changed: `find_unfit_tools` tells, when an agent is made, what a provider would refuse.
"""

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from agent.models.profiles import ProviderProfile

#: Declarations that a process remembers, fitted: each request has those of its agent again.
REMEMBERED_TOOLS = 1_024
#: References within references that are followed: each may double the schema.
REFERENCES_MAX_DEPTH = 8
#: What the model reads of a tool that is spoken of and is not there any more.
GONE_TOOL = "Not available any more: do not call it."

#: Where a schema holds others: by name, in a list, alone.
_SCHEMA_MAPS = ("properties", "patternProperties", "dependentSchemas", "$defs", "definitions")
_SCHEMA_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
_SCHEMAS = ("items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames")
_DEFINITIONS = ("$defs", "definitions")
#: What an object at the top may not be, by the rules of most providers.
_CHOICES = ("allOf", "anyOf", "oneOf")
_NOT_AT_THE_TOP = ("$schema", "$id", "$comment", "not", "enum", "const", "if", "then", "else")


def fit_tools(
    tools: Sequence[Mapping[str, Any]], messages: Sequence[Mapping[str, Any]], profile: ProviderProfile
) -> list[dict[str, Any]]:
    """Fit the declarations, and add those of tools that only the history speaks of where they are asked for."""
    fitted_tools = [_fit_tool(json.dumps(tool), profile) for tool in tools]
    if not fitted_tools and profile.declares_history:
        called_names = {
            call["function"]["name"]: None for message in messages for call in message.get("tool_calls") or ()
        }
        fitted_tools = [_declare(name, GONE_TOOL, {"type": "object", "properties": {}}) for name in called_names]
    return fitted_tools


def find_unfit_tools(tools: Sequence[Mapping[str, Any]], profile: ProviderProfile) -> Iterator[tuple[str, str]]:
    """Find what the provider refuses of these declarations: the tool's name, and the problem."""
    if profile.max_tools is not None and len(tools) > profile.max_tools:
        yield "", f"are {len(tools)}; at most {profile.max_tools} fit in a request"
    for tool in tools:
        function = tool["function"]
        name, description = function["name"], str(function.get("description") or "")
        if not profile.allows("tool_name", name):
            yield name, f"has a name that does not match {profile.tool_name}"
        if len(description) > (profile.max_description_chars or math.inf):
            yield name, f"has a description of more than {profile.max_description_chars} characters"
        for parameter in _make_object(function.get("parameters") or {})["properties"]:
            if not profile.allows("parameter_name", parameter):
                yield name, f"has a parameter {parameter!r} whose name does not match {profile.parameter_name}"


@lru_cache(maxsize=REMEMBERED_TOOLS)
def _fit_tool(tool_json: str, profile: ProviderProfile) -> dict[str, Any]:
    function = json.loads(tool_json)["function"]
    schema = _make_object(function.get("parameters") or {})
    if profile.schema != "json":
        schema = inline_references(schema)
    if profile.schema == "gemini":
        schema = _fit_to_gemini(schema)
    description = str(function.get("description") or "")[: profile.max_description_chars]
    return _declare(function["name"], description, schema)


def _make_object(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema as one object, whose choices at the top are properties of it: no provider takes those there."""
    if isinstance(schema.get("$ref"), str):
        schema = {**_find_target(schema, schema["$ref"]), **{key: schema[key] for key in schema if key != "$ref"}}
    choices = [part for key in _CHOICES for part in schema.get(key, ()) if isinstance(part, Mapping)]
    properties = {name: part for choice in reversed(choices) for name, part in choice.get("properties", {}).items()}
    kept_keys = {key: value for key, value in schema.items() if key not in (*_CHOICES, *_NOT_AT_THE_TOP)}
    kept_keys |= {"type": "object", "properties": properties | schema.get("properties", {})}
    object_schema = _complete(kept_keys)
    assert isinstance(object_schema, dict)
    return object_schema


def _complete(schema: Any) -> Any:
    """The schema as parsers of schemas read it: items of arrays, objects for `true`, numbers that JSON has.

    A pattern in another dialect than Python's, by which OpenAI reads them, refuses a request: it is left out.
    """
    if isinstance(schema, bool):
        return {} if schema else {"not": {}}
    if not isinstance(schema, Mapping):
        return schema
    finite_keys = {
        key: value for key, value in schema.items() if not (isinstance(value, float) and not math.isfinite(value))
    }
    if isinstance(finite_keys.get("pattern"), str) and not _is_pattern(finite_keys["pattern"]):
        finite_keys.pop("pattern")
    if isinstance(finite_keys.get("items"), list):
        finite_keys["prefixItems"] = finite_keys.pop("items")  # as tuples were written before
    if finite_keys.get("type") == "array" and not {"items", "prefixItems"} & finite_keys.keys():
        finite_keys["items"] = {}
    # Whether other properties are allowed may be said by a boolean.
    completed_schema = _map_parts(
        {key: value for key, value in finite_keys.items() if not (key in _SCHEMAS and isinstance(value, bool))},
        _complete,
    )
    return {key: completed_schema.get(key, value) for key, value in finite_keys.items()}


def _is_pattern(text: str) -> bool:
    try:
        re.compile(text)
    except (re.error, RecursionError, OverflowError):
        return False
    return True


def _declare(name: str, description: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    function = {"name": name, **({"description": description} if description.strip() else {}), "parameters": schema}
    return {"type": "function", "function": function}


def inline_references(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema with what its references name in their place; one that names itself becomes any value."""
    inlined_schema = _inline(schema, schema, ())
    assert isinstance(inlined_schema, dict)
    return inlined_schema


def _inline(schema: Any, root: Mapping[str, Any], open_refs: tuple[str, ...]) -> Any:
    if not isinstance(schema, Mapping):
        return schema
    ref = schema.get("$ref")
    if isinstance(ref, str):
        siblings = {key: value for key, value in schema.items() if key != "$ref"}
        is_too_deep = ref in open_refs or len(open_refs) == REFERENCES_MAX_DEPTH
        target = {} if is_too_deep else _find_target(root, ref)
        return _inline({**target, **siblings}, root, (*open_refs, ref))
    remaining_keys = {key: value for key, value in schema.items() if key not in _DEFINITIONS}
    return _map_parts(remaining_keys, lambda part: _inline(part, root, open_refs))


def _find_target(root: Mapping[str, Any], ref: str) -> Mapping[str, Any]:
    target: Any = root
    for step in ref.removeprefix("#").strip("/").split("/") if ref != "#" else ():
        target = target.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(target, Mapping) else None
    return target if isinstance(target, Mapping) else {}


def _fit_to_gemini(schema: Any) -> Any:
    """The schema with values and tuples in words that Gemini has; litellm leaves out what it does not know."""
    if not isinstance(schema, Mapping):
        return schema
    fitted_schema = _join_choices(_map_parts(schema, _fit_to_gemini))
    if "const" in fitted_schema:
        fitted_schema["enum"] = [fitted_schema.pop("const")]
    if "prefixItems" in fitted_schema:
        fitted_schema["items"] = {"anyOf": fitted_schema.pop("prefixItems")}
    values = fitted_schema.get("enum")
    if values and fitted_schema.get("nullable"):
        values = fitted_schema["enum"] = [value for value in values if value is not None]
    if values and not all(isinstance(value, str) and value for value in values):
        # An enum is of text alone.
        words = f"One of: {', '.join(json.dumps(value) for value in fitted_schema.pop('enum'))}."
        fitted_schema["description"] = " ".join(text for text in (fitted_schema.get("description"), words) if text)
    return fitted_schema


def _join_choices(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema with `anyOf` and `nullable` alone for its choices."""
    joined_schema: dict[str, Any] = {}
    for part in (*schema.pop("allOf", ()), schema):
        joined_schema |= part if isinstance(part, Mapping) else {}
    choices = [*joined_schema.pop("anyOf", ()), *joined_schema.pop("oneOf", ())]
    if isinstance(joined_schema.get("type"), list):
        types = joined_schema.pop("type")
        joined_schema |= {"nullable": True} if "null" in types else {}
        types = [kind for kind in types if kind != "null"]
        joined_schema |= {"type": types[0]} if len(types) == 1 else {"anyOf": [{"type": kind} for kind in types]}
    return joined_schema | ({"anyOf": choices} if choices else {})


def _map_parts(schema: Mapping[str, Any], change: Callable[[Any], Any]) -> dict[str, Any]:
    """The schema with each schema inside of it changed."""
    changed_schema: dict[str, Any] = {}
    for key, value in schema.items():
        if key in _SCHEMA_MAPS and isinstance(value, Mapping):
            changed_schema[key] = {name: change(part) for name, part in value.items()}
        elif key in _SCHEMA_LISTS and isinstance(value, list):
            changed_schema[key] = [change(part) for part in value]
        else:
            changed_schema[key] = change(value) if key in _SCHEMAS else value
    return changed_schema
