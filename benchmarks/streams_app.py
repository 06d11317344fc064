"""The gateway of the benchmark of streams, with a stream of the same app beside it that has nothing behind it."""

import asyncio
from collections.abc import AsyncGenerator, Mapping

from fastapi import Request, Response

from producers.http.app import create_gateway
from producers.http.principal import SCOPES, Principal
from producers.http.sse import EventStreamResponse


class Everyone:
    """An authenticator that knows everyone."""

    async def authenticate(self, *_: Mapping[str, str]) -> Principal | None:
        return Principal(tenant="default", scopes=frozenset(SCOPES), credential="bench")

    async def close(self) -> None:
        """It has nothing open."""


app = create_gateway(authenticator=Everyone())
_posts: asyncio.Queue[bytes] = asyncio.Queue()


@app.post("/raw")
async def post(request: Request) -> Response:
    """Have the raw stream say something."""
    _posts.put_nowait(await request.body())
    return Response(status_code=202)


@app.get("/raw")
async def stream() -> EventStreamResponse:
    """Say at once what is posted."""
    gateway = app.state.gateway
    return EventStreamResponse(_frames(), streams=gateway.streams, settings=gateway.settings, credential=None)


async def _frames() -> AsyncGenerator[bytes]:
    while True:
        yield b"event: message.delta\ndata: " + await _posts.get() + b"\n\n"
