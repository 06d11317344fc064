"""Agents with addresses that hold passwords: of an MCP server that is away, and of pages."""

from agent.agent import Agent
from agent.mcp import mcp
from agent.registry import register
from agent.web.tools import WEB_TOOLS

#: Stands for a password in an address.
PASSWORD = "xylophone-4711"

register(
    Agent(
        name="connected",
        model_name="offline/recall",
        tools=[mcp(f"http://127.0.0.1:9/mcp?key={PASSWORD}", name="away", headers={"X-Key": PASSWORD}), *WEB_TOOLS],
    )
)
