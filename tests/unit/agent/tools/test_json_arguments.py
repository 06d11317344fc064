"""Arguments against a schema of somebody else's, however good or bad it is."""

import time
from typing import Any

import pytest

from agent.tools.arguments import PROBLEMS_MAX, InvalidArguments
from agent.tools.json_arguments import JsonArguments
from agent.tools.run_context import RunContext

CONTEXT = RunContext(tenant="default", thread_id="t", turn_id="turn", call_id="c")


def bind(schema: dict[str, Any], text: str) -> Any:
    return JsonArguments(schema).bind(text, CONTEXT).args[0]


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "nonsense"},
        {"type": "object", "properties": 7},
        {"$schema": {"not": "a text"}},
        {"$schema": "https://nobody.invalid/dialect"},
        {"$ref": "https://nobody.invalid/schema.json"},
        {"$ref": "#/$defs/none"},
        {"$ref": "#"},
        {"properties": {"a": {"pattern": "("}}},
        {"patternProperties": {"(": {}}, "additionalProperties": False},
    ],
)
def test_a_schema_that_cannot_be_used_leaves_the_check_to_its_server(schema: dict[str, Any]) -> None:
    assert bind(schema, '{"a": "x"}') == {"a": "x"}


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"a": {"type": "string", "pattern": "^(a+)+$"}}},
        {"patternProperties": {"^(a+)+$": {"type": "string"}}, "additionalProperties": False},
        {"properties": {"a": {"$schema": "http://json-schema.org/draft-04/schema#", "pattern": "^(a+)+$"}}},
    ],
)
def test_no_pattern_of_a_servers_holds_up_the_loop(schema: dict[str, Any]) -> None:
    began = time.process_time()

    bind(schema, f'{{"a": "{"a" * 40}!"}}')

    assert time.process_time() - began < 20


def test_a_reference_inside_of_the_schema_is_followed() -> None:
    schema = {"$defs": {"n": {"type": "integer"}}, "properties": {"a": {"$ref": "#/$defs/n"}}}

    with pytest.raises(InvalidArguments, match="a: 'x' is not of type 'integer'"):
        bind(schema, '{"a": "x"}')


def test_problems_are_bounded() -> None:
    schema = {"additionalProperties": {"type": "integer"}}
    arguments = ", ".join(f'"p{number}": "{"x" * 1000}"' for number in range(50))

    with pytest.raises(InvalidArguments) as raised:
        bind(schema, f"{{{arguments}}}")

    assert str(raised.value).count("; ") == PROBLEMS_MAX - 1
    assert len(str(raised.value)) < PROBLEMS_MAX * 400
