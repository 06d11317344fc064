"""The size limit of requests.

What stays true: a body that says how long it is, is refused before any of it is read; of one that does not, no more
than the limit is read.
"""

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class BodyTooLarge(HTTPException):
    """An `HTTPException`, since frameworks that read the body let only those through."""

    def __init__(self, limit: int, scope: Scope) -> None:
        # What is left of the body is not worth reading.
        headers = {"Connection": "close"} if scope.get("http_version", "").startswith("1") else {}
        super().__init__(413, f"the body has more than {limit} bytes", headers)


class BodyLimit:
    """Refuses bodies that are too large, by the kind of body: a form may bring files."""

    def __init__(self, app: ASGIApp, *, max_bytes: int, max_form_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._max_form_bytes = max_form_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        is_form = headers.get("content-type", "").lower().startswith("multipart/")
        limit = self._max_form_bytes if is_form else self._max_bytes
        length = headers.get("content-length", "")
        if length.isascii() and length.isdigit() and (len(length) > 18 or int(length) > limit):
            raise BodyTooLarge(limit, scope)
        size = 0

        async def receive_within_limit() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > limit:
                raise BodyTooLarge(limit, scope)
            return message

        await self._app(scope, receive_within_limit, send)
