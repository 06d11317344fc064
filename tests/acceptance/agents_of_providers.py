"""Agents that ask a provider over HTTP."""

import asyncio

from agent.agent import Agent
from agent.registry import register
from agent.tools.tool import tool

_both = asyncio.Barrier(2)


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@tool(timeout_seconds=10)
async def meet(name: str) -> str:
    """Return once two of these calls are at work at the same time."""
    await _both.wait()
    return f"{name} met"


register(Agent(name="patient", model_name="openai/gpt-4o-mini", model_max_attempts=2, max_turn_attempts=50))
register(Agent(name="caller", model_name="openai/gpt-4o-mini", tools=[add, meet], model_max_attempts=1))
