"""The time limit of requests that are no streams.

What stays true: it ends with the first byte of the answer, so that no answer is cut in two; work that is given up
is cancelled, which rolls its transaction back.
"""

import asyncio

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from producers.http.problems import Problem


class TimeLimit:
    """Gives a request up that has no answer after so many seconds."""

    def __init__(self, app: ASGIApp, *, seconds: float) -> None:
        self._app = app
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        await _LimitedRequest(self._app, self._seconds).run(scope, receive, send)


class _LimitedRequest:
    """One request, and how far it is."""

    def __init__(self, app: ASGIApp, seconds: float) -> None:
        self._app = app
        self._seconds = seconds
        self._is_receiving = False

    async def run(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the request. Raises `Problem` where it takes too long."""
        is_whole = not _has_body(scope)

        async def receive_body() -> Message:
            nonlocal is_whole
            self._is_receiving = not is_whole
            message = await receive()
            is_whole = is_whole or not message.get("more_body", False)
            self._is_receiving = False
            return message

        async def send_freely(message: Message) -> None:
            limit.reschedule(None)
            await send(message)

        try:
            async with asyncio.timeout(self._seconds) as limit:
                await self._app(scope, receive_body, send_freely)
        except TimeoutError:
            if not limit.expired():
                raise
            raise self._give_up(scope) from None

    def _give_up(self, scope: Scope) -> Problem:
        if self._is_receiving:
            headers = {"Connection": "close"} if scope.get("http_version", "").startswith("1") else {}
            return Problem(408, "Request Timeout", "the request did not come whole in time", headers=headers)
        return Problem(504, "Gateway Timeout", f"there was no answer within {self._seconds:g} s; it was given up")


def _has_body(scope: Scope) -> bool:
    headers = Headers(scope=scope)
    return "transfer-encoding" in headers or headers.get("content-length", "0") != "0"
