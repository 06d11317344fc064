"""A stub MCP server that is started: by the official package, over standard input and output.

It tells which variables it was given, and can end itself in the middle of a call.
"""

import os
import sys

from mcp.server.mcpserver import Context, MCPServer

server = MCPServer("stub")


@server.tool()
def variables() -> list[str]:
    """List the variables of this process."""
    return sorted(os.environ)


@server.tool()
def variable(name: str) -> str:
    """Tell the value of a variable."""
    return os.environ.get(name, "")


@server.tool()
def process() -> int:
    """Tell the id of this process."""
    return os.getpid()


@server.tool()
def die() -> None:
    """End this process in the middle of the call."""
    os._exit(1)


@server.tool()
async def grow(context: Context) -> str:  # type: ignore[type-arg]
    """Offer one more tool, and tell that the list has changed."""
    server.add_tool(lambda: "new", name="grown", description="Was not there before.")
    await context.notify_tools_changed()
    return "grown"


if __name__ == "__main__":
    print("said beside the protocol", file=sys.stderr)  # noqa: T201
    server.run("stdio")
