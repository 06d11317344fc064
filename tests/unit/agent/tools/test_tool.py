"""Tools out of plain functions: what the model is told of them, and which functions are refused."""

import asyncio
import contextvars
import enum
from typing import Annotated, Any, ClassVar, Literal

import pytest
from pydantic import Field

from agent.tools.run_context import RunContext
from agent.tools.thread_pool import ToolThreads
from agent.tools.tool import Tool, tool
from agent.tools.toolbox import Toolbox
from conversation.errors import InvalidInput

UNSHOWABLE = object()


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


def properties(made: Tool) -> dict[str, Any]:
    return made.declaration()["function"]["parameters"]["properties"]


def test_a_function_is_declared_with_its_name_docstring_and_parameters() -> None:
    @tool
    def add(a: int, b: int = 2) -> int:
        """Add two numbers.

        They may be negative.

        Args:
            a: the first one
            b: the second one

        Returns:
            int: the sum
        """
        return a + b

    assert add.declaration() == {
        "type": "function",
        "function": {
            "name": "add",
            "description": "Add two numbers.\n\nThey may be negative.",
            "parameters": {
                "type": "object",
                "properties": {
                    "a": {"type": "integer", "description": "the first one"},
                    "b": {"type": "integer", "default": 2, "description": "the second one"},
                },
                "required": ["a"],
                "additionalProperties": False,
            },
        },
    }


def test_a_tool_is_still_the_function_to_python_code() -> None:
    assert tool(lambda a: a + 1, name="inc")(1) == 2


def test_a_schema_says_choices_bounds_and_what_may_be_null() -> None:
    def paint(colour: Colour, mode: Literal["fast", "slow"], layers: Annotated[int, Field(ge=1)], note: str | None): ...

    declared = properties(Tool.from_function(paint))

    assert declared["mode"] == {"type": "string", "enum": ["fast", "slow"]}
    assert declared["layers"] == {"type": "integer", "minimum": 1}
    assert declared["note"] == {"anyOf": [{"type": "string"}, {"type": "null"}]}


def test_a_description_in_the_annotation_wins_over_the_docstring() -> None:
    def look(place: Annotated[str, Field(description="from the annotation")]) -> None:
        """Look.

        :param place: from the docstring
        """

    assert properties(Tool.from_function(look))["place"]["description"] == "from the annotation"


def test_a_default_that_json_cannot_show_is_left_out_of_the_schema() -> None:
    assert properties(Tool.from_function(lambda a=UNSHOWABLE: a, name="f"))["a"] == {}


def test_the_context_is_no_parameter_of_the_model() -> None:
    def who(context: RunContext, maybe: RunContext | None = None, shout: bool = False) -> str: ...

    assert list(properties(Tool.from_function(who))) == ["shout"]


@pytest.mark.parametrize(
    ("function", "problem"),
    [
        (lambda *args: args, r"takes \*args"),
        (lambda **options: options, r"takes \*\*options"),
        (lambda: (yield 1), "is a generator"),
        (ToolThreads.submit, "is a method without its object"),
        ("no function", "is no function"),
        (contextvars.ContextVar("c").get, "has no signature"),
    ],
)
def test_what_no_model_can_call_is_refused_when_it_is_defined(function: Any, problem: str) -> None:
    with pytest.raises(InvalidInput, match=problem):
        Tool.from_function(function, name="f")


def test_a_parameter_that_json_cannot_carry_is_refused_when_it_is_defined() -> None:
    def talk(to: asyncio.Queue) -> None: ...  # type: ignore[type-arg]

    with pytest.raises(InvalidInput, match="tool talk: has a parameter that JSON cannot carry"):
        Tool.from_function(talk)


class Refuses:
    @classmethod
    def __get_pydantic_core_schema__(cls, *_: Any) -> Any:
        raise KeyError("odd")


@pytest.mark.parametrize(
    "annotation",
    [
        "list[int",
        "1 / 0",
        "nowhere.found",
        5,
        [int],
        {"a": 1},
        Refuses,
        ClassVar[int],
        Annotated[str, Field(pattern="(")],
    ],
)
def test_an_odd_annotation_is_refused_when_the_tool_is_made(annotation: Any) -> None:
    def odd(value): ...  # type: ignore[no-untyped-def]

    odd.__annotations__["value"] = annotation

    with pytest.raises(InvalidInput, match="tool odd: has a"):
        Tool.from_function(odd)


def test_a_default_of_none_makes_a_parameter_nullable() -> None:
    def look(place: str = None, depth: Annotated[int, Field(ge=1)] = None, far: int = Field(None)) -> Any:  # type: ignore[assignment] # noqa: RUF013 - what users write
        return place, depth, far

    declared = properties(Tool.from_function(look))

    assert declared["place"] == {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None}
    assert declared["depth"]["anyOf"] == [{"minimum": 1, "type": "integer"}, {"type": "null"}]
    assert {"type": "null"} in declared["far"]["anyOf"]


def test_a_default_that_json_has_no_number_for_is_left_out() -> None:
    assert properties(Tool.from_function(lambda a=float("nan"): a, name="f"))["a"] == {}


@pytest.mark.parametrize("name", ["", "a b", "é", "x" * 65, "add\n", "<lambda>"])
def test_a_name_that_providers_refuse_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match=r"tool\.name"):
        Tool.from_function(lambda: 1, name=name)


@pytest.mark.parametrize("seconds", [0, -1, float("inf"), float("nan")])
def test_a_timeout_is_a_number_of_seconds(seconds: float) -> None:
    with pytest.raises(InvalidInput, match="timeout_seconds"):
        Tool.from_function(lambda: 1, name="f", timeout_seconds=seconds)


def test_two_tools_of_one_name_are_refused() -> None:
    with pytest.raises(InvalidInput, match="two named 'f'"):
        Toolbox([Tool.from_function(lambda: 1, name="f"), Tool.from_function(lambda: 2, name="f")])
