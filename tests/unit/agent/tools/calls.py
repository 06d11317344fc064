"""Calls of tools, for tests of what they come to."""

import asyncio
import json
from typing import Any

from agent.tools.result import ToolResult
from agent.tools.run_context import RunContext
from agent.tools.thread_pool import ToolThreads
from agent.tools.tool import Tool
from agent.tools.tool_loops import StartsCalls
from agent.tools.toolbox import run

CONTEXT = RunContext(tenant="acme", thread_id="t-1", turn_id="turn-1", call_id="call-1")
THREADS = ToolThreads(8)


async def call(function: Any, loops: StartsCalls, arguments: str = "", **options: Any) -> ToolResult:
    made = function if isinstance(function, Tool) else Tool.from_function(function, name="probe", **options)
    return await run(made, arguments, CONTEXT, executor=THREADS, loops=loops)


def error_of(result: ToolResult) -> dict[str, str]:
    error: dict[str, str] = json.loads(result.content)["error"]
    return error


async def sleep_a_moment() -> str:
    await asyncio.sleep(0.05)
    return "slept"
