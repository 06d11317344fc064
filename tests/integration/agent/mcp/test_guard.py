"""A remote server is reached only where the web tools might reach, or where the operator allows."""

import pytest

from agent.agent import Agent
from agent.mcp import mcp
from agent.mcp.toolbox import load_run_tools
from agent.tools.toolbox import Toolbox
from conversation.errors import InvalidSettings, ToolServerUnavailable
from store.settings import load
from tests.integration.agent.mcp.conftest import LOOPBACK, CreateRun
from tests.integration.scripted import Scripted, completed, says
from tests.stub_mcp import StubMcp


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("http://127.0.0.1:{port}/mcp", "a loopback address"),
        ("http://2130706433:{port}/mcp", "a loopback address"),
        ("http://localhost:{port}/mcp", "a loopback address"),
        ("http://[::ffff:127.0.0.1]:{port}/mcp", "an IPv4 address within IPv6"),
        ("http://169.254.169.254/mcp", "a cloud metadata service"),
        ("http://10.0.0.1/mcp", "a private address"),
    ],
)
async def test_an_address_that_is_not_public_is_refused(stub: StubMcp, url: str, kind: str) -> None:
    port = stub.url.rpartition(":")[2].partition("/")[0]
    server = mcp(url.format(port=port), name="stub", required=True)

    with pytest.raises(ToolServerUnavailable, match=f"leads to {kind}; THREADMILL_MCP_ALLOW_NETWORKS"):
        await load_run_tools(Toolbox(), [server])

    assert stub.requests == []


async def test_a_network_that_the_operator_allows_is_reached(stub: StubMcp, create_run: CreateRun) -> None:
    stub.declare("add")
    model = Scripted(says("done"))

    await completed(create_run(Agent(name="a", tools=[mcp(stub.url, name="stub")]), model, networks=LOOPBACK))

    assert [tool["function"]["name"] for tool in model.requests[0].tools] == ["stub_add"]


async def test_a_redirect_takes_no_header_to_another_server(stub: StubMcp) -> None:
    with StubMcp() as other:
        stub.redirect = other.url
        server = mcp(stub.url, name="stub", headers={"Authorization": "Bearer mine"}, required=True)

        with pytest.raises(ToolServerUnavailable):
            await load_run_tools(Toolbox(), [server], allow_networks=LOOPBACK)

        assert stub.requests
        assert other.requests == []


async def test_a_proxy_of_the_environment_does_not_connect_in_its_place(
    stub: StubMcp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", stub.url)
    monkeypatch.setenv("http_proxy", stub.url)

    with pytest.raises(ToolServerUnavailable, match="a private address"):
        await load_run_tools(Toolbox(), [mcp("http://10.0.0.1/mcp", name="stub", required=True)])

    assert stub.requests == []


async def test_a_host_that_nobody_knows_is_named_by_its_server(stub: StubMcp) -> None:
    with pytest.raises(ToolServerUnavailable, match="the MCP server inner could not be reached"):
        await load_run_tools(Toolbox(), [mcp("http://nobody.invalid/S3CRET", name="inner", required=True)])


def test_the_setting_is_a_list_of_networks() -> None:
    assert load(mcp_allow_networks="127.0.0.0/8, ::1/128").mcp_allow_networks == LOOPBACK
    with pytest.raises(InvalidSettings, match=r"THREADMILL_MCP_ALLOW_NETWORKS.*localhost.*is no network"):
        load(mcp_allow_networks="localhost")
