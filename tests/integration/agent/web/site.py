"""A server that may do anything, and a client that reaches it alone."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from agent.tools.result import ToolResult
from agent.tools.run_context import RunContext
from agent.tools.thread_pool import ToolThreads
from agent.tools.toolbox import Toolbox
from agent.web import WebClient, WebLimits, web_tools

CONTEXT = RunContext(tenant="acme", thread_id="t-1", turn_id="turn-1", call_id="call-1")
#: Enough for a server beside us, on a busy machine too.
NEAR = WebLimits(connect_seconds=5, read_seconds=5, total_seconds=10)
HOME = "127.0.0.1/32"

Route = bytes | Callable[[asyncio.StreamWriter], Awaitable[None]]


def answer(body: bytes | str = b"", *headers: str, status: str = "200 OK", kind: str | None = "text/plain") -> bytes:
    """A whole HTTP answer."""
    content = body.encode() if isinstance(body, str) else body
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(content)}", "Connection: close", *headers]
    if kind is not None:
        lines.append(f"Content-Type: {kind}")
    return "\r\n".join([*lines, "", ""]).encode() + content


def redirect(location: str, status: str = "302 Found") -> bytes:
    return answer(b"", f"Location: {location}", status=status, kind=None)


class Site:
    """A server on this machine that sends what a test wrote down, and remembers what it was asked."""

    def __init__(self) -> None:
        self.routes: dict[str, Route] = {}
        #: The heads of all requests.
        self.requests: list[str] = []
        #: Requests that came to the address that no test may reach.
        self.trapped: list[str] = []
        self.port = 0

    def url(self, path: str = "/", host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    def client(self, **options: Any) -> WebClient:
        """A client that reaches this server, at 127.0.0.1 and nowhere else."""
        return WebClient(**{"allow_networks": [HOME], "allow_ports": [self.port], **options})

    async def get(self, path: str = "/", *, limits: WebLimits = NEAR, **options: Any) -> Any:
        return await self.client(**options).get(self.url(path), limits=limits)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            local = writer.get_extra_info("sockname")[0]
            (self.requests if local == "127.0.0.1" else self.trapped).append(head)
            path = head.split(" ")[1].partition("?")[0]
            route = self.routes.get(path, answer(b"nothing here", status="404 Not Found"))
            if callable(route):
                await route(writer)
            else:
                writer.write(route)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def running(site: Site, context: ssl.SSLContext | None = None) -> AsyncIterator[None]:
    """Serve on 127.0.0.1, and on 127.0.0.2 under the same port as a trap."""
    home = await asyncio.start_server(site.serve, "127.0.0.1", 0, ssl=context)
    site.port = home.sockets[0].getsockname()[1]
    trap = await asyncio.start_server(site.serve, "127.0.0.2", site.port, ssl=context)
    yield
    for server in (home, trap):
        server.close()


class Names:
    """A resolver that a test writes: each look-up of a name takes its next answer, the last one stays."""

    def __init__(self, **answers: Sequence[Sequence[str]]) -> None:
        self.answers = {name.replace("_", "."): list(found) for name, found in answers.items()}
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        left = self.answers[host]
        return left.pop(0) if len(left) > 1 else left[0]


async def call(tools: Any, name: str, **arguments: Any) -> ToolResult:
    return await Toolbox(tools).run(name, json.dumps(arguments), CONTEXT, executor=ToolThreads(1))


async def fetched(site: Site, path: str, **arguments: Any) -> Any:
    result = await call(web_tools(site.client(), page=NEAR), "fetch_page", url=site.url(path), **arguments)
    return json.loads(result.content)


def endless(head: bytes, piece: bytes) -> Callable[[asyncio.StreamWriter], Awaitable[None]]:
    async def send(writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        while True:
            writer.write(piece)
            await writer.drain()

    return send
