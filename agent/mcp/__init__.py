"""Tools of MCP servers: `Agent(tools=[mcp("https://…/mcp"), mcp(command=["…"])])`.

What stays true: naming a server asks nobody anything; the `mcp` package is imported when a run first needs
a server. A server is sent what its agent gave for it and nothing of the environment, and a remote one is
reached only at addresses that the web tools might reach, or that the operator allows.
"""

from agent.mcp.server import McpServer, mcp

__all__ = ["McpServer", "mcp"]
