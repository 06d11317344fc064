"""What a server that asks back is told: its own defaults, or that nobody is there."""

from types import SimpleNamespace
from typing import Any

import pytest

from agent.mcp.elicitation import answer_with_defaults

SURE = {"sure": {"type": "boolean", "default": False}}


@pytest.mark.parametrize(
    ("schema", "action", "content"),
    [
        ({"properties": SURE, "required": ["sure"]}, "accept", {"sure": False}),
        ({"properties": {**SURE, "note": {"type": "string"}}, "required": []}, "accept", {"sure": False}),
        ({"properties": {**SURE, "name": {"type": "string"}}, "required": ["name"]}, "decline", None),
        ({"properties": {}}, "accept", {}),
    ],
)
async def test_a_form_is_answered_with_its_defaults_or_declined(schema: Any, action: str, content: Any) -> None:
    answer = await answer_with_defaults(None, SimpleNamespace(mode="form", requested_schema=schema))

    assert (answer.action, answer.content) == (action, content)


async def test_no_address_is_opened() -> None:
    answer = await answer_with_defaults(None, SimpleNamespace(mode="url", url="https://a.example"))

    assert answer.action == "decline"
