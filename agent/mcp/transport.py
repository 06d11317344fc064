"""The way to an MCP server: over streamable HTTP through the guard, or to a process that is started.

What stays true: a remote server is reached only at addresses that the guard lets pass, each time it is connected
to; a started one gets the variables that its agent named and a few like PATH and HOME, and no other of this
process. What either writes beside its answers is thrown away: it may quote a conversation.
"""

import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.mcp.elicitation import answer_with_defaults
from agent.mcp.server import McpServer
from agent.web.errors import AnswerRejected, TooLarge

if TYPE_CHECKING:
    from mcp import Client

#: Seconds beyond a call's own, so that those end it, with words of their own; a stream may be silent as long.
READ_MARGIN_SECONDS = 300.0

#: Bytes of one answer, or of one event of a stream: pictures come as base64 in them.
ANSWER_MAX_BYTES = 32 * 1024 * 1024

#: Called with each message that a server sends without being asked.
Listener = Callable[[Any], Awaitable[None]]


@cache
def load() -> Any:
    """Import the `mcp` package and silence it. Takes a second or more at first: call it off the loop."""
    import mcp
    import mcp.client.session

    mcp.client.session.logger = logging.getLogger("mcp.client.session")  # its own is named `client`, as anybody's
    # At DEBUG they log whole messages, and in tracebacks what a server sent. A level holds for those below, too.
    for name in ("mcp", "httpx2", "httpcore2"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    return mcp


@asynccontextmanager
async def open_client(
    server: McpServer, *, allow_networks: tuple[str, ...], listener: Listener, note_status: Callable[[int], None]
) -> AsyncIterator["Client"]:
    """A session with a server. Raises whatever the package does, in groups or alone.

    `note_status` is told of each HTTP status that is an error: the package's own error does not name it.
    """
    mcp = load()
    async with AsyncExitStack() as stack:
        if server.url is None:
            transport = _start(server, stack)
        else:
            transport = await _reach(server, server.url, stack, allow_networks, note_status)
        client: Client = await stack.enter_async_context(
            mcp.Client(
                transport,
                message_handler=listener,
                elicitation_callback=answer_with_defaults if server.answers_with_defaults else None,
                client_info=mcp.Implementation(name="threadmill", version="1"),
                # Lists are kept by who asks for them; a second cache would answer with what has changed.
                cache=None,
            )
        )
        yield client


def _start(server: McpServer, stack: AsyncExitStack) -> Any:
    from mcp.client.stdio import StdioServerParameters, stdio_client

    program, *arguments = server.command
    parameters = StdioServerParameters(command=program, args=arguments, env=dict(server.env), cwd=server.cwd)
    return stdio_client(parameters, stack.enter_context(Path(os.devnull).open("w", encoding="utf-8")))


async def _reach(
    server: McpServer,
    url: str,
    stack: AsyncExitStack,
    allow_networks: tuple[str, ...],
    note_status: Callable[[int], None],
) -> Any:
    import httpx2
    from mcp.client.streamable_http import streamable_http_client

    async def hook(response: httpx2.Response) -> None:
        if response.is_error:
            note_status(response.status_code)
        _bound(response)

    client = httpx2.AsyncClient(
        transport=_guarded_transport(server, allow_networks),
        headers={"accept-encoding": "identity", **server.headers},
        auth=server.auth,
        timeout=httpx2.Timeout(server.connect_timeout_seconds, read=server.timeout_seconds + READ_MARGIN_SECONDS),
        event_hooks={"response": [hook]},
        trust_env=False,  # else a proxy of the environment connects in place of the guard
    )
    http_client = await stack.enter_async_context(client)
    return streamable_http_client(url, http_client=http_client, max_sse_event_size=ANSWER_MAX_BYTES)


def _bound(response: Any) -> None:
    """Let a body end with an error once it is larger than any answer; the package bounds events alone."""
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        # A few bytes may become any number: nobody asked for that.
        raise AnswerRejected("the answer is compressed")
    if not response.headers.get("content-type", "").lower().startswith("text/event-stream"):
        response.stream = _bounded_stream(response.stream)


def _bounded_stream(stream: Any) -> Any:
    import httpx2

    class BoundedStream(httpx2.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            size = 0
            async for part in stream:
                size += len(part)
                if size > ANSWER_MAX_BYTES:
                    raise TooLarge(f"the answer has more than {ANSWER_MAX_BYTES} bytes")
                yield part

        async def aclose(self) -> None:
            await stream.aclose()

    return BoundedStream()


def _guarded_transport(server: McpServer, allow_networks: tuple[str, ...]) -> Any:
    import httpcore2
    import httpx2

    from agent.web.address_guard import AddressGuard
    from agent.web.client import system_resolve
    from agent.web.guarded_backend import GuardedBackend

    ssl_context = httpx2.create_ssl_context(trust_env=False)
    # The address may hold a secret in its path: errors name the server.
    backend: Any = GuardedBackend(
        AddressGuard(allow_networks),
        system_resolve,
        redacted_url=f"the MCP server {server.name}",
        http=httpcore2,
        # What an OAuth provider asks on the way has no limits of the client's.
        connect_seconds=server.connect_timeout_seconds,
    )
    transport = httpx2.AsyncHTTPTransport(verify=ssl_context, trust_env=False)
    # Its constructor takes no backend; `tests/integration/agent/mcp/test_guard.py` holds that this one is used.
    transport._pool = httpcore2.AsyncConnectionPool(ssl_context=ssl_context, network_backend=backend)  # noqa: SLF001
    return transport
