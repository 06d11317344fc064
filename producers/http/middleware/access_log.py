"""The access log: one line for each answer.

What stays true: no query string, no body, no header and no id out of a path is in it; a route is told by its template.
"""

import time
from http import HTTPMethod

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from producers.http.request_record import record_of, route_of

log = structlog.get_logger(__name__)


class AccessLog:
    """Logs each request once its answer is over; of a stream, when it ends."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.monotonic()
        status: int | None = None

        async def note_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, note_status)
        finally:
            _log_request(scope, status, round((time.monotonic() - began) * 1000))


def _log_request(scope: Scope, status: int | None, milliseconds: int) -> None:
    record, route = record_of(scope), route_of(scope)
    method = scope["method"] if scope["method"] in HTTPMethod.__members__ else "OTHER"
    if route is not None and route.startswith("/health"):
        # Probes come every few seconds.
        log.debug("http_request", method=method, route=route, status=status, ms=milliseconds)
        return
    log.info(
        "http_request",
        method=method,
        route=route,
        status=status,
        ms=milliseconds,
        tenant=record.principal.tenant if record.principal else None,
        credential=record.principal.credential if record.principal else None,
    )
