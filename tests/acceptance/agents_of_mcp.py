"""An agent whose tools are those of MCP servers: one that is started, one over HTTP where a test says that it is."""

import os
import sys
from pathlib import Path

from agent.agent import Agent
from agent.mcp import mcp
from agent.registry import register

#: Where a test has its stub.
URL_VARIABLE = "STUB_MCP_URL"
PROGRAM = Path(__file__).parents[1] / "stub_mcp" / "program.py"

register(
    Agent(
        name="caller",
        model_name="offline/recall",
        tools=[
            mcp(command=[sys.executable, str(PROGRAM)], name="program"),
            mcp(os.environ.get(URL_VARIABLE, "http://127.0.0.1:9/mcp"), name="stub"),
        ],
    )
)
