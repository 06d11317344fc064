"""Naming an MCP server: what is refused at once, and what is never shown or imported."""

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from agent.agent import Agent
from agent.mcp import mcp
from agent.mcp.tools import build_tools
from agent.tools.approval import ApprovalRequest
from conversation.errors import InvalidInput

URL = "https://mcp.example.com/s/S3CRET"


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({}, "mcp"),
        ({"url": URL, "command": ["x"]}, "mcp"),
        ({"url": "mcp.example.com"}, "mcp.url"),
        ({"url": "ftp://a.example"}, "mcp.url"),
        ({"url": "https://user:S3CRET@a.example/mcp"}, "mcp.url"),
        ({"url": "https://a.example:99999/mcp"}, "mcp.url"),
        ({"command": "npx server"}, "mcp.command"),
        ({"command": ["npx", 1]}, "mcp.command"),
        ({"url": URL, "name": "a b"}, "mcp.name"),
        ({"url": URL, "name": "n" * 33}, "mcp.name"),
        ({"url": URL, "headers": {"X-Key": 1}}, "mcp.headers"),
        ({"url": URL, "headers": {"X-Key": "S3CRET\r\nHost: b"}}, "mcp.headers"),
        ({"url": URL, "env": {"A": "b"}}, "mcp.env"),
        ({"url": URL, "cwd": "/"}, "mcp.cwd"),
        ({"command": ["x"], "headers": {"A": "b"}}, "mcp.headers"),
        ({"command": ["x"], "env": {"A": None}}, "mcp.env"),
        ({"url": URL, "tools": "add"}, "mcp.tools"),
        ({"url": URL, "idempotent": "add"}, "mcp.idempotent"),
        ({"url": URL, "needs_approval": "add"}, "mcp.needs_approval"),
        ({"url": URL, "needs_approval": None}, "mcp.needs_approval"),
        ({"url": URL, "needs_approval": [1]}, "mcp.needs_approval"),
        ({"url": URL, "needs_approval": {"add": "always"}}, "mcp.needs_approval"),
        ({"url": URL, "timeout_seconds": 0}, "mcp.timeout_seconds"),
        ({"url": URL, "connect_timeout_seconds": float("nan")}, "mcp.connect_timeout_seconds"),
    ],
)
def test_what_cannot_be_used_is_refused_at_once_and_without_its_secret(arguments: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        mcp(**arguments)

    assert raised.value.field == field
    assert "S3CRET" not in str(raised.value)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"url": URL}, "mcp_example_com"),
        ({"url": "http://[::1]:8000/mcp"}, "1"),
        ({"command": ["/usr/bin/weather-server.py", "--fast"]}, "weather-server"),
        ({"url": URL, "name": "mine"}, "mine"),
    ],
)
def test_a_server_is_named_by_its_host_or_its_program(arguments: dict[str, Any], name: str) -> None:
    assert mcp(**arguments).name == name


def test_two_servers_of_one_name_are_refused() -> None:
    with pytest.raises(InvalidInput, match="two MCP servers named 'mcp_example_com'; pass name="):
        Agent(name="a", tools=[mcp(URL), mcp("https://mcp.example.com/other")])


def test_no_secret_is_in_the_repr() -> None:
    servers = (mcp(URL, headers={"A": "S3CRET"}), mcp(command=["x", "--key", "S3CRET"], env={"A": "S3CRET"}))

    assert "S3CRET" not in repr(servers)


def test_naming_a_server_imports_and_asks_nothing() -> None:
    program = (
        "from threadmill import Agent, mcp\nimport sys\n"
        "Agent(name='a', tools=[mcp('https://nobody.invalid/mcp'), mcp(command=['no-such'])])\n"
        "import agent.loop\n"
        "print({'mcp', 'httpx2', 'jsonschema'} & {name.partition('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)

    assert done.stdout.strip() == "set()"


def is_large(call: ApprovalRequest) -> bool:
    return bool(call.arguments["amount"] > 100)


@pytest.mark.parametrize(
    ("needs_approval", "expected"),
    [
        (False, {"pay": False, "look": False}),
        (True, {"pay": True, "look": True}),
        (is_large, {"pay": is_large, "look": is_large}),
        (["pay"], {"pay": True, "look": False}),
        ({"pay": is_large}, {"pay": is_large, "look": False}),
    ],
)
def test_which_tools_need_approval_is_said_of_all_of_them_or_by_name(needs_approval: Any, expected: Any) -> None:
    declared: Any = [
        SimpleNamespace(name=name, description="", title=None, input_schema={}, annotations=None) for name in expected
    ]

    tools = build_tools(mcp(URL, name="bank", needs_approval=needs_approval), declared, call_nobody)

    assert {tool.name: tool.needs_approval for tool in tools} == {f"bank_{name}": v for name, v in expected.items()}


async def call_nobody(name: str, arguments: dict[str, Any]) -> Any:
    raise AssertionError(name, arguments)
