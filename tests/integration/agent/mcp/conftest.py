"""A stub MCP server, the official one as a program, and a run whose network is the loopback one."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.agent import Agent
from agent.loop import Run
from agent.mcp import McpServer, mcp
from tests.integration.scripted import Memory, Scripted, run_of
from tests.stub_mcp import StubMcp

LOOPBACK = ("127.0.0.0/8", "::1/128")
PROGRAM = Path(__file__).parents[3] / "stub_mcp" / "program.py"

#: Makes a run of an agent, from a journal that may be another run's.
CreateRun = Callable[..., Run]


@pytest.fixture
def stub() -> Iterator[StubMcp]:
    with StubMcp() as server:
        yield server


def program(**options: Any) -> McpServer:
    return mcp(command=[sys.executable, str(PROGRAM)], name="program", **options)


@pytest.fixture
def create_run() -> CreateRun:
    def create(
        agent: Agent,
        model: Scripted,
        journal: Memory | None = None,
        *,
        networks: tuple[str, ...] = LOOPBACK,
        **options: Any,
    ) -> Run:
        return run_of(agent, model, journal, mcp_allow_networks=networks, **options)

    return create
