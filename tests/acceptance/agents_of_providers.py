"""Agents that ask a provider over HTTP: importing litellm takes a worker seconds, so they stand apart."""

import asyncio

from agent.agent import Agent
from agent.registry import register
from agent.tool import tool


@tool
async def add(a: int, b: int) -> int:
    """Add two numbers, slowly."""
    await asyncio.sleep(0.2)
    return a + b


register(Agent(name="caller", model_name="openai/gpt-4o-mini", tools=[add], model_max_attempts=1))
