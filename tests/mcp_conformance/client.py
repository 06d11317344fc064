"""The client under test of the conformance suite: our connection to a server, driven as each scenario asks.

The suite starts this program with the address of its server as the last argument, and names the scenario in the
environment. It lists the server's tools and calls each of them, as a turn does.
"""

import asyncio
import json
import os
import sys
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
from mcp.client.auth import AuthorizationCodeResult, OAuthClientProvider
from mcp.shared.auth import OAuthClientInformationFull, OAuthClientMetadata, OAuthToken
from pydantic import AnyUrl

from agent.mcp import mcp
from agent.mcp.toolbox import load_run_tools
from agent.tools.result import ToolResult
from agent.tools.run_context import RunContext
from agent.tools.thread_pool import ToolThreads
from agent.tools.toolbox import Toolbox

#: Of the suite's own server, which runs beside this program.
ALLOW_NETWORKS = ("127.0.0.0/8", "::1/128")
REDIRECT_URL = "http://localhost:3030/callback"
#: An address of a client's own metadata, as the suite expects it.
CLIENT_METADATA_URL = "https://conformance-test.local/client-metadata.json"
ARGUMENTS = {"add_numbers": {"a": 5, "b": 3}}


class MemoryStorage:
    """The tokens of one run, which end with it."""

    def __init__(self, client: OAuthClientInformationFull | None = None) -> None:
        self.client = client
        self.tokens: OAuthToken | None = None

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self.client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.client = client_info


class Consent:
    """A person's browser: it follows the address of consent and comes back with a code."""

    def __init__(self) -> None:
        self._answer: dict[str, list[str]] = {}

    async def follow(self, url: str) -> None:
        async with httpx2.AsyncClient(trust_env=False) as browser:
            answer = await browser.get(url)
        self._answer = parse_qs(urlsplit(answer.headers["location"]).query)

    async def return_code(self) -> AuthorizationCodeResult:
        values: dict[str, Any] = {name: value[0] for name, value in self._answer.items()}
        return AuthorizationCodeResult(**{key: values.get(key) for key in ("code", "state", "iss")})


def authorization(url: str) -> OAuthClientProvider:
    metadata = OAuthClientMetadata(
        client_name="threadmill",
        redirect_uris=[AnyUrl(REDIRECT_URL)],
        grant_types=["authorization_code", "refresh_token"],
        response_types=["code"],
    )
    context = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT", "{}"))
    registered = None
    if "client_id" in context:
        registered = OAuthClientInformationFull(
            **metadata.model_dump(exclude={"token_endpoint_auth_method"}),
            client_id=context["client_id"],
            client_secret=context.get("client_secret"),
            token_endpoint_auth_method="client_secret_basic" if context.get("client_secret") else "none",
        )
    consent = Consent()
    return OAuthClientProvider(
        url,
        metadata,
        MemoryStorage(registered),
        redirect_handler=consent.follow,
        callback_handler=consent.return_code,
        client_metadata_url=CLIENT_METADATA_URL,
    )


async def call_all(url: str, scenario: str) -> list[ToolResult]:
    auth = authorization(url) if scenario.startswith("auth/") else None
    server = mcp(url, name="suite", auth=auth, answers_with_defaults=True, required=True)
    tools = (await load_run_tools(Toolbox(), [server], allow_networks=ALLOW_NETWORKS)).toolbox
    context = RunContext(tenant="default", thread_id="t", turn_id="turn", call_id="call")
    results = []
    for name in tools.names:
        arguments = ARGUMENTS.get(name.removeprefix("suite_"), {})
        results.append(await tools.run(name, json.dumps(arguments), context, executor=ToolThreads(1)))
    return results


def main() -> int:
    results = asyncio.run(call_all(sys.argv[-1], os.environ.get("MCP_CONFORMANCE_SCENARIO", "")))
    sys.stdout.writelines(f"{result.outcome}: {result.content}\n" for result in results)
    return int(any(result.outcome != "finished" for result in results))


if __name__ == "__main__":
    sys.exit(main())
