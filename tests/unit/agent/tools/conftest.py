"""The two places in which async tools run: the caller's own loop, and a loop of tools."""

from collections.abc import Iterator

import pytest

from agent.tools.tool_loops import CallersLoop, StartsCalls, ToolLoops
from tests.unit.agent.tools.calls import THREADS


@pytest.fixture(params=["the caller's loop", "a loop of tools"])
def loops(request: pytest.FixtureRequest) -> Iterator[StartsCalls]:
    if request.param == "the caller's loop":
        yield CallersLoop()
        return
    loops = ToolLoops(THREADS)
    yield loops
    loops.stop()


@pytest.fixture
def tool_loops_only() -> Iterator[ToolLoops]:
    loops = ToolLoops(THREADS)
    yield loops
    loops.stop()
