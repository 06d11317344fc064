"""An MCP server as a value: where it is, what it is told, and which of its tools are wanted.

What stays true: nothing here opens a connection, and no address, header or variable of a server, any of which may be
a secret, is in its `repr`.
"""

import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any
from urllib.parse import urlsplit

from agent.tools.approval import ApprovalRule
from agent.tools.tool import TIMEOUT_SECONDS
from conversation.errors import InvalidInput

#: Characters of a server's name, which stands before the names of its tools: providers take 64 in all.
NAME_MAX_CHARS = 32
#: Seconds to connect to a server and list its tools.
CONNECT_SECONDS = 20.0

#: `True`, a rule over each call, names of tools, or a rule for each name.
NeedsApproval = bool | ApprovalRule | Collection[str] | Mapping[str, bool | ApprovalRule]

_NAME = re.compile(rf"[a-zA-Z0-9_-]{{1,{NAME_MAX_CHARS}}}")
_NOT_IN_NAMES = re.compile(r"[^a-zA-Z0-9_-]+")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, weakref_slot=True)
class McpServer:
    """An MCP server, remote or to be started: what `mcp()` makes. It stands among an agent's tools."""

    #: Stands before the name of each tool: `github_create_issue`.
    name: str
    #: Of a server that speaks streamable HTTP; else None.
    url: str | None = field(default=None, repr=False)
    #: Of a server that is started and spoken to over its standard input and output; else empty.
    command: tuple[str, ...] = field(default=(), repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    #: An `httpx2.Auth`, such as the OAuth providers of the `mcp` package.
    auth: Any = field(default=None, repr=False)
    #: Variables of a started server, beside a few like PATH and HOME.
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    cwd: str | None = field(default=None, repr=False)
    #: The server's own names of the tools that are wanted; None takes all.
    tools: frozenset[str] | None = None
    #: Which tools may safely be run twice: by name, all or none; what the server says counts too, unless it is none.
    idempotent: frozenset[str] | bool = frozenset()
    #: Which calls a person has to approve: all, those for which a rule says so, or by the server's own name of a tool.
    needs_approval: bool | ApprovalRule | Mapping[str, bool | ApprovalRule] = False
    #: A server that asks back is answered with the defaults of its form; without this it cannot ask.
    answers_with_defaults: bool = False
    #: A turn waits for the server, instead of going on without it.
    required: bool = False
    #: Seconds for one call.
    timeout_seconds: float = TIMEOUT_SECONDS
    connect_timeout_seconds: float = CONNECT_SECONDS


def mcp(
    url: str | None = None,
    *,
    command: Sequence[str] = (),
    name: str | None = None,
    headers: Mapping[str, str] | None = None,
    auth: Any = None,
    env: Mapping[str, str] | None = None,
    cwd: str | PurePath | None = None,
    tools: Collection[str] | None = None,
    idempotent: Collection[str] | bool = (),
    needs_approval: NeedsApproval = False,
    answers_with_defaults: bool = False,
    required: bool = False,
    timeout_seconds: float = TIMEOUT_SECONDS,
    connect_timeout_seconds: float = CONNECT_SECONDS,
) -> McpServer:
    """Name an MCP server whose tools an agent may call: by its address, or by the command that starts it.

    Nothing is asked now: a worker lists the tools when a turn of the agent first runs. Raises `InvalidInput`.
    """
    if (url is None) == (not command):
        raise InvalidInput("mcp", "needs an address or a command, and one of them", 'pass "https://…" or command=["…"]')
    server_name = name if name is not None else _default_name(url, command)
    if not isinstance(server_name, str) or not _NAME.fullmatch(server_name):
        problem = f"is {server_name!r}"
        raise InvalidInput("mcp.name", problem, f"pass name= with 1 to {NAME_MAX_CHARS} letters, digits, _ and -")
    server = McpServer(
        name=server_name,
        url=url,
        command=_check_command(command),
        headers=_check_texts("headers", headers),
        auth=auth,
        env=_check_texts("env", env),
        cwd=None if cwd is None else str(cwd),
        tools=None if tools is None else _check_names("tools", tools),
        idempotent=idempotent if isinstance(idempotent, bool) else _check_names("idempotent", idempotent),
        needs_approval=_check_approval(needs_approval),
        answers_with_defaults=answers_with_defaults,
        required=required,
        timeout_seconds=_check_seconds("timeout_seconds", timeout_seconds),
        connect_timeout_seconds=_check_seconds("connect_timeout_seconds", connect_timeout_seconds),
    )
    _check_fitting(server)
    return server


def distinct_servers(tools: Iterable[object]) -> tuple[McpServer, ...]:
    """The servers among an agent's tools. Raises `InvalidInput` where two have one name."""
    servers = tuple(tool for tool in tools if isinstance(tool, McpServer))
    for index, server in enumerate(servers):
        if any(server.name == other.name for other in servers[:index]):
            raise InvalidInput("tools", f"hold two MCP servers named {server.name!r}", "pass name= to one of them")
    return servers


def _default_name(url: str | None, command: Sequence[str]) -> str:
    """The name of a server that was given none: its host's, or its program's."""
    text = _host(url) if url is not None else PurePath(str(command[0])).stem
    return _NOT_IN_NAMES.sub("_", text).strip("_")[:NAME_MAX_CHARS]


def _host(url: str) -> str:
    """The host of an address. The address itself, which may hold a secret, is in no error."""
    problem, fix = "is no web address", "pass one like https://example.org/mcp"
    try:
        parts = urlsplit(url.strip())
        host, user, _ = parts.hostname, parts.username, parts.port
    except (ValueError, AttributeError):
        raise InvalidInput("mcp.url", problem, fix) from None
    if parts.scheme not in ("http", "https") or not host:
        raise InvalidInput("mcp.url", problem, fix)
    if user is not None:
        raise InvalidInput("mcp.url", "holds a user name or password", "pass them in headers=")
    return host


def _check_command(command: Sequence[str]) -> tuple[str, ...]:
    if isinstance(command, str) or not all(isinstance(word, str) and "\0" not in word for word in command):
        raise InvalidInput("mcp.command", "is no list of texts", 'pass the program and each argument: ["npx", "…"]')
    return tuple(command)


def _check_texts(field_name: str, texts: Mapping[str, str] | None) -> Mapping[str, str]:
    """Check headers or variables: a number, or a line break, would fail or forge the request much later."""
    checked = dict(texts or {})
    for key, value in checked.items():
        if not isinstance(key, str) or not isinstance(value, str) or any(c in key + value for c in "\r\n\0"):
            raise InvalidInput(
                f"mcp.{field_name}", f"{key!r} is no text of one line", "pass texts, without line breaks"
            )
    return checked


def _check_names(field_name: str, names: Collection[str]) -> frozenset[str]:
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise InvalidInput(f"mcp.{field_name}", "is no list of names", "pass the server's own names of its tools")
    return frozenset(names)


def _check_approval(needs_approval: NeedsApproval) -> bool | ApprovalRule | Mapping[str, bool | ApprovalRule]:
    if isinstance(needs_approval, bool) or callable(needs_approval):
        return needs_approval
    if not isinstance(needs_approval, Collection):
        problem, fix = f"is {needs_approval!r}", "pass True, a function, or the server's own names of its tools"
        raise InvalidInput("mcp.needs_approval", problem, fix)
    rules = dict(needs_approval) if isinstance(needs_approval, Mapping) else dict.fromkeys(needs_approval, True)
    _check_names("needs_approval", needs_approval if isinstance(needs_approval, str) else rules)
    for name, rule in rules.items():
        if not (isinstance(rule, bool) or callable(rule)):
            raise InvalidInput("mcp.needs_approval", f"has {rule!r} for {name!r}", "pass True, or a function")
    return rules


def _check_seconds(field_name: str, seconds: float) -> float:
    if not (math.isfinite(seconds) and seconds > 0):
        raise InvalidInput(f"mcp.{field_name}", f"is {seconds}", "pass a number of seconds above 0")
    return float(seconds)


def _check_fitting(server: McpServer) -> None:
    """Refuse what would never be used: a key that is not sent is a surprise."""
    if server.url is not None:
        _host(server.url)
        unused = [name for name in ("env", "cwd") if getattr(server, name)]
    else:
        unused = [name for name in ("headers", "auth") if getattr(server, name)]
    if unused:
        kind = "a remote server" if server.url is not None else "a server that is started"
        raise InvalidInput(f"mcp.{unused[0]}", f"is not used for {kind}", "leave it out")
