"""Results of tools within bounds: what has no end, is huge, or only looks like a list."""

import asyncio
import dataclasses
import itertools
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from pydantic import BaseModel

from agent.tools import toolbox
from agent.tools.result import RESULT_MAX_CHARS
from agent.tools.tool import Tool
from agent.tools.tool_loops import CallersLoop, StartsCalls
from tests.unit.agent.tools.calls import call, error_of, sleep_a_moment


def giving(build: Callable[[], Any], *, is_async: bool) -> Callable[[], Any]:
    async def build_async() -> Any:
        return build()

    return build_async if is_async else build


class LooksLikeAList:
    """As a DataFrame: its columns are what it iterates over."""

    columns = ("a", "b")

    def __len__(self) -> int:
        return 2

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)

    def __contains__(self, _: object) -> bool:
        return False


class Table(LooksLikeAList):
    shape = (1, 2)

    def to_dict(self, orient: str) -> Any:
        assert orient == "records"
        return [{"a": 1, "b": 2}]


class HugeTable(Table):
    shape = (1_500_000, 2)


class Lies(list[int]):
    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[int]:
        return itertools.count()


class Raises(Sequence[int]):
    def __len__(self) -> int:
        raise KeyboardInterrupt

    def __getitem__(self, index: Any) -> Any:
        return 1


class Model(BaseModel):
    value: Any


@dataclasses.dataclass
class Record:
    value: Any


def circle() -> list[Any]:
    made: list[Any] = []
    made.append({"again": made})
    return made


def nest(depth: int) -> list[Any]:
    made: list[Any] = []
    for _ in range(depth):
        made = [made]
    return made


TOO_LARGE: dict[str, Callable[[], Any]] = {
    "endless": itertools.count,
    "endless in a list": lambda: [itertools.repeat("x")],
    "endless in a model": lambda: Model(value=itertools.count()),
    "endless in a record": lambda: Record(itertools.count()),
    "endless list": Lies,
    "rows": lambda: [{"n": n} for n in range(200_000)],
    "range": lambda: range(10**15),
    "table": HugeTable,
    "texts": lambda: ["x" * 100_000] * 1_000,
    "bytes": lambda: bytes(20_000_000),
    "number": lambda: 10**100_000,
    "circle": circle,
    "deep": lambda: nest(100_000),
}


@pytest.mark.soak
@pytest.mark.parametrize("is_async", [True, False])
async def test_an_endless_or_huge_result_is_the_failure_of_its_call(loops: StartsCalls, is_async: bool) -> None:
    for name, build in TOO_LARGE.items():
        result = await call(giving(build, is_async=is_async), loops)

        assert (result.outcome, error_of(result)["type"]) == ("failed", "ResultTooLarge"), name
        assert error_of(result)["message"].startswith("the tool ran, but its result is too large: "), name


@pytest.mark.parametrize(
    ("value", "content"),
    [
        (Table(), '[{"a":1,"b":2}]'),
        (Model(value=[1]), '{"value":[1]}'),
        (Record({"a": (1,)}), '{"value":{"a":[1]}}'),
        (iter([1, 2]), "[1,2]"),
        (zip("ab", [1, 2], strict=True), '[["a",1],["b",2]]'),
        (range(3), "[0,1,2]"),
    ],
)
async def test_what_has_an_end_is_shown(value: object, content: str) -> None:
    assert (await call(lambda: value, CallersLoop())).content == content


@pytest.mark.parametrize("value", [LooksLikeAList(), Raises(), ValueError("x"), object])
async def test_what_is_no_value_is_told_to_be_none(loops: StartsCalls, value: object) -> None:
    async def give() -> object:
        return value

    assert error_of(await call(give, loops))["type"] == "UnshowableResult"


async def test_a_result_that_hangs_while_it_is_read_holds_up_nobody(
    loops: StartsCalls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(toolbox, "ENCODE_SECONDS", 0.1)
    gate = threading.Event()

    class Hangs(list[int]):
        def __iter__(self) -> Iterator[int]:
            gate.wait(30)
            return iter(())

    async def give() -> object:
        return Hangs([1])

    made = Tool.from_function(give, timeout_seconds=0.1)
    result, neighbour = await asyncio.gather(call(made, loops), call(sleep_a_moment, loops))

    assert "could not be read within" in error_of(result)["message"]
    assert neighbour.content == '"slept"'
    gate.set()


async def test_a_long_text_is_cut_and_says_so_without_being_copied(loops: StartsCalls) -> None:
    async def give() -> str:
        return "é" * 50_000_000

    result = await call(give, loops)

    assert len(result.content) <= RESULT_MAX_CHARS
    assert "of 50000000 characters" in json.loads(result.content)["truncated"]
