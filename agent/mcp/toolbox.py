"""The tools of a run: an agent's own, and those that its MCP servers offer now.

What stays true: a server that is away costs a turn its tools, or a retry where the agent cannot do without it, and
no more; a list that was seen before stays in use meanwhile, so that requests stay the same.
"""

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakKeyDictionary, finalize

import structlog

from agent.mcp.connection import Connection
from agent.mcp.loop_thread import LoopThread, loop_thread
from agent.mcp.server import McpServer
from agent.mcp.tools import build_tools
from agent.tools.tool import Tool
from agent.tools.toolbox import Toolbox
from conversation.errors import ToolServerUnavailable

_log = structlog.get_logger(__name__)
_lock = threading.Lock()
#: As long as their server is named by an agent; by the loop on which they live: a forked process has another.
_connections: WeakKeyDictionary[McpServer, dict[tuple[LoopThread, tuple[str, ...]], Connection]] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class RunTools:
    """The tools of a run before its next model call."""

    toolbox: Toolbox
    #: The names of servers that are away, and whose tools are not known.
    servers_away: tuple[str, ...] = ()

    @property
    def note(self) -> str:
        """The sentence that tells the model of servers that are away; "" where none is."""
        if not self.servers_away:
            return ""
        return f"The tools of {', '.join(self.servers_away)} cannot be used at the moment: the server is away."


async def load_run_tools(
    own_tools: Toolbox, servers: Sequence[McpServer], *, allow_networks: tuple[str, ...] = ()
) -> RunTools:
    """The agent's own tools and its servers'. Raises `ToolServerUnavailable` where a required one is away."""
    tools, away = list(own_tools), []
    names = set(own_tools.names)
    lists = await asyncio.gather(*(_load_tools(server, allow_networks) for server in servers))
    for server, server_tools in zip(servers, lists, strict=True):
        if server_tools is None:
            away.append(server.name)
        for tool in server_tools or ():
            if tool.name in names:
                _log.warning("mcp_tool_name_taken", server=server.name, tool=tool.name)
                continue
            names.add(tool.name)
            tools.append(tool)
    return RunTools(Toolbox(tools), tuple(away))


async def _load_tools(server: McpServer, allow_networks: tuple[str, ...]) -> list[Tool] | None:
    """The tools of one server; None where it is away, and was never seen."""
    thread = loop_thread()
    connection = _connection_to(server, thread, allow_networks)

    async def call(name: str, arguments: dict[str, Any]) -> Any:
        return await thread.call(connection.call_tool(name, arguments))

    try:
        declared_tools = await thread.call(connection.list_tools())
    except ToolServerUnavailable:
        if server.required:
            raise
        if connection.last_known_tools is None:
            return None
        declared_tools = connection.last_known_tools
    return build_tools(server, declared_tools, call)


def _connection_to(server: McpServer, thread: LoopThread, allow_networks: tuple[str, ...]) -> Connection:
    with _lock:
        connections = _connections.setdefault(server, {})
        connection = connections.get((thread, allow_networks))
        if connection is None:
            # Of a copy: it must not keep alive what it ends with. Programs make agents for one request, too.
            connection = connections[thread, allow_networks] = Connection(replace(server), allow_networks)
            finalize(server, _close, thread, connection).atexit = False
        return connection


def _close(thread: LoopThread, connection: Connection) -> None:
    asyncio.run_coroutine_threadsafe(connection.close(), thread.loop)
