"""The limits of an agent: what is refused names the field and what fits, whatever its type."""

from dataclasses import fields
from datetime import timedelta
from typing import Any

import pytest

from agent.agent import Agent
from conversation.errors import InvalidInput

#: Numbers of an agent that are no limits: they go to the provider as they are.
PARAMETERS = {"temperature", "top_p", "max_tokens"}
LIMITS = [
    field.name
    for field in fields(Agent)
    if ("int" in str(field.type) or "float" in str(field.type)) and field.name not in PARAMETERS
]


@pytest.mark.parametrize("value", [-1, "5", True, timedelta(hours=1), float("nan"), [1]], ids=repr)
@pytest.mark.parametrize("name", LIMITS)
def test_a_limit_that_no_run_could_keep_is_refused_by_its_name(name: str, value: Any) -> None:
    with pytest.raises(InvalidInput, match=rf"^agent\.{name}: is .*; pass a (whole )?number"):
        Agent(name="a", **{name: value})


@pytest.mark.parametrize("name", LIMITS)
def test_none_is_a_limit_where_it_is_the_default(name: str) -> None:
    (default,) = (field.default for field in fields(Agent) if field.name == name)

    if default is None:
        Agent(name="a", **{name: None})
    else:
        with pytest.raises(InvalidInput, match=f"agent.{name}: is None"):
            Agent(name="a", **{name: None})


@pytest.mark.parametrize(
    "name", ["max_depth", "max_children", "max_file_tokens", "max_turn_retry_seconds", "summarize_after_messages"]
)
def test_a_limit_of_none_at_all_is_one(name: str) -> None:
    assert getattr(Agent(name="a", **{name: 0}), name) == 0


def test_what_is_no_tool_is_refused_with_what_is_one() -> None:
    with pytest.raises(InvalidInput, match=r"tool Agent: is no function; pass what its as_tool\(\) returns"):
        Agent(name="a", tools=[Agent(name="b")])  # type: ignore[list-item]
    with pytest.raises(InvalidInput, match="tool str: is no function; pass a function, sync or async"):
        Agent(name="a", tools=["b"])  # type: ignore[list-item]
    with pytest.raises(InvalidInput, match=r"agent\.client_tools: hold something else; pass a list of ClientTool"):
        Agent(name="a", client_tools=["b"])  # type: ignore[list-item]
