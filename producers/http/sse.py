"""Server-sent events: how an event is written, and the answer that sends one after the other.

What stays true: the first bytes go out at once, whatever happens afterwards; a silent stream says that it lives; a
stream that the gateway ends, rather than its subject, says when to come again; neither a reader that takes nothing
nor one that left holds anything for long. Data is JSON on one line, so no text can begin an event of its own.

Written here, because sse-starlette patches the server, polls it for its end and has no last word for the reader,
and `fastapi.sse` knows neither dead readers nor the end of the process.
"""

import asyncio
import json
import random
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress

import structlog
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from conversation.events import ThreadEvent, event_json
from producers.http.open_streams import OpenStreams
from store.settings import Settings

#: Milliseconds after which a reader comes again that has lost its stream.
RETRY_MILLISECONDS = 2000
#: The first bytes: middlewares hold an answer back until it has some. No blank line ends what is no event: there are
#: clients that would take it for one without data.
FIRST_FRAME = f":\nretry: {RETRY_MILLISECONDS}\n".encode()
HEARTBEAT_FRAME = b":\n"
#: That there is an encoding, if none, keeps compressing middlewares off, which would hold back what they compress.
HEADERS = {"Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no", "Content-Encoding": "identity"}
#: Seconds that the last word of a stream may take: whoever does not read it comes again all the same.
FAREWELL_SECONDS = 0.5
#: Of a stream's time, how much one may live longer than another: those that began together come again apart.
SPREAD = 0.2

log = structlog.get_logger(__name__)


class ReaderGone(Exception):
    """The reader has left, or takes nothing any more."""


def encode_event(event: ThreadEvent, event_id: int | str) -> bytes:
    """An event as server-sent; its id comes again as `Last-Event-ID`."""
    data = json.dumps(event_json(event), ensure_ascii=False, separators=(",", ":"))
    # Half a surrogate pair, which no UTF-8 has, stays what JSON calls it.
    return f"event: {event.kind}\nid: {event_id}\ndata: {data}\n\n".encode("utf-8", "backslashreplace")


def _encode_farewell() -> bytes:
    """The end of a stream before its subject ends: when to come again, not all readers at the same time."""
    return f"retry: {random.randint(RETRY_MILLISECONDS // 2, RETRY_MILLISECONDS)}\n".encode()  # noqa: S311 - no secret


async def wait_for_disconnect(receive: Receive) -> None:
    """Return when the client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass


class EventStreamResponse(StreamingResponse):
    """An answer of server-sent events."""

    media_type = "text/event-stream"

    def __init__(
        self, frames: AsyncGenerator[bytes], *, streams: OpenStreams, settings: Settings, credential: str | None
    ) -> None:
        """`frames` are sent as they come, and closed at the end; `credential` is whose limits hold, if any."""
        super().__init__(frames, headers=HEADERS)
        self._frames = frames
        self._streams = streams
        self._settings = settings
        self._credential = credential
        self._writing = asyncio.Lock()
        self._wrote_at = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - the base's
        """Send the stream. Raises `Problem` before its first byte, if there is no place for it."""
        async with aclosing(self._frames):
            with self._streams.hold(self._settings, self._credential) as end:
                await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
                with suppress(ReaderGone):
                    await self._write(send, FIRST_FRAME)
                    await self._send_all(receive, send, end)

    async def _send_all(self, receive: Receive, send: Send, end: "asyncio.Future[None]") -> None:
        sending = asyncio.create_task(self._send_frames(send))
        tasks = {sending, asyncio.create_task(self._send_heartbeats(send)), asyncio.create_task(_watch(receive))}
        try:
            await asyncio.wait({*tasks, end}, timeout=self._lifetime(), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        if any(isinstance(result, ReaderGone) for result in results):
            raise ReaderGone
        is_complete = not sending.cancelled() and sending.exception() is None
        if not is_complete:
            await self._write(send, _encode_farewell(), FAREWELL_SECONDS)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_frames(self, send: Send) -> None:
        try:
            async for frame in self._frames:
                await self._write(send, frame)
        except (ReaderGone, asyncio.CancelledError):
            raise
        except Exception as error:
            # The reader comes again, and hears by the status of that answer what is wrong.
            log.warning("stream_broken", error=type(error).__name__)
            raise

    async def _send_heartbeats(self, send: Send) -> None:
        pause = self._settings.gateway_stream_heartbeat_seconds
        now = asyncio.get_running_loop().time
        while True:
            await asyncio.sleep(self._wrote_at + pause - now())
            if now() - self._wrote_at >= pause:
                await self._write(send, HEARTBEAT_FRAME)

    async def _write(self, send: Send, frame: bytes, seconds: float | None = None) -> None:
        """Write a frame, whole or not at all. Raises `ReaderGone`."""
        try:
            async with self._writing, asyncio.timeout(seconds or self._settings.gateway_stream_send_timeout_seconds):
                await send({"type": "http.response.body", "body": frame, "more_body": True})
        except OSError as error:
            raise ReaderGone from error
        self._wrote_at = asyncio.get_running_loop().time()

    def _lifetime(self) -> float:
        return self._settings.gateway_stream_max_seconds * random.uniform(1 - SPREAD, 1)  # noqa: S311 - no secret


async def _watch(receive: Receive) -> None:
    await wait_for_disconnect(receive)
    raise ReaderGone
