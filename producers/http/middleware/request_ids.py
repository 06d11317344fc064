"""Request ids: each request has one, of its client or made here, and its answer says which."""

import re

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from conversation.ids import new_id
from producers.http.request_record import RequestRecord, put_record

#: What a client may call its request: a word that no log and no terminal can trip over.
_VALID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


class RequestIds:
    """Gives each request its record, and each answer the request's id and the headers of every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        asked = Headers(scope=scope).get("x-request-id", "")
        record = RequestRecord(id=asked if _VALID.fullmatch(asked) else new_id())
        put_record(scope, record)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["X-Request-Id"] = record.id
                headers["X-Content-Type-Options"] = "nosniff"
                headers.setdefault("Cache-Control", "no-store")
                headers.update(record.headers)
            await send(message)

        with structlog.contextvars.bound_contextvars(request=record.id):
            await self._app(scope, receive, send_with_headers)
