"""The tools of an MCP server as an agent's: under a name of ours, with the server's schema and words.

What stays true: a name is one that providers take, begins with its server's, and is no other tool's; the same list
gives the same names. No tool is run twice unless the server or the agent says that it may be; which needs approval,
the agent alone says.
"""

import hashlib
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from agent.mcp.results import convert_result
from agent.mcp.server import McpServer
from agent.tools.approval import ApprovalRule
from agent.tools.json_arguments import JsonArguments
from agent.tools.tool import Tool

if TYPE_CHECKING:
    import mcp_types

#: What every provider takes as the name of a function.
NAME_MAX_CHARS = 64
_NOT_IN_NAMES = re.compile(r"[^a-zA-Z0-9_-]")
#: Characters of the hash that tells two names apart which would be one.
_HASH_CHARS = 8

#: Calls a tool by the server's own name.
Call = Callable[[str, dict[str, Any]], Awaitable[Any]]


def build_tools(server: McpServer, declared_tools: "Sequence[mcp_types.Tool]", call: Call) -> list[Tool]:
    """Build the tools that an agent wants of those that its server declares."""
    wanted_tools = {
        tool.name: tool for tool in declared_tools if server.tools is None or tool.name in server.tools
    }.values()
    short_names = [_name(server.name, tool.name) for tool in wanted_tools]
    return [
        _build_tool(server, tool, name if short_names.count(name) == 1 else _add_hash(name, tool.name), call)
        for tool, name in zip(wanted_tools, short_names, strict=True)
    ]


def _build_tool(server: McpServer, declared: "mcp_types.Tool", name: str, call: Call) -> Tool:
    async def call_server(arguments: dict[str, Any]) -> object:
        return convert_result(await call(declared.name, arguments), tool=name)

    return Tool(
        name=name,
        description=declared.description or declared.title or "",
        function=call_server,
        arguments=JsonArguments(_object_schema(declared.input_schema)),
        timeout_seconds=server.timeout_seconds,
        idempotent=_is_idempotent(server, declared),
        needs_approval=_approval_of(server, declared.name),
    )


def _approval_of(server: McpServer, tool_name: str) -> bool | ApprovalRule:
    rules = server.needs_approval
    return rules.get(tool_name, False) if isinstance(rules, Mapping) else rules


def _is_idempotent(server: McpServer, declared: "mcp_types.Tool") -> bool:
    if isinstance(server.idempotent, bool):
        return server.idempotent
    hints = declared.annotations
    says_so = hints is not None and bool(hints.read_only_hint or hints.idempotent_hint)
    return says_so or declared.name in server.idempotent


def _object_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema as it came, with what each provider demands of any: a type, and properties."""
    return {"type": "object", "properties": {}, **schema}


def _name(server_name: str, tool_name: str) -> str:
    name = _NOT_IN_NAMES.sub("_", f"{server_name}_{tool_name}")
    return name if len(name) <= NAME_MAX_CHARS else _add_hash(name, tool_name)


def _add_hash(name: str, tool_name: str) -> str:
    suffix = hashlib.sha256(tool_name.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH_CHARS]
    return f"{name[: NAME_MAX_CHARS - _HASH_CHARS - 1]}_{suffix}"
