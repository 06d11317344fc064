"""One request to the stub provider and the means to answer it, over a real socket."""

import json
import select
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from conversation.message import Usage

#: Seconds between two looks at whether a waiting client is still there.
LOOK_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Received:
    """One request, as it came over the wire."""

    path: str
    #: By lower-case name.
    headers: dict[str, str]
    body: dict[str, Any]
    #: Of `time.monotonic()`.
    at: float
    #: Set when the client hung up before its answer was whole.
    abandoned: threading.Event = field(default_factory=threading.Event)
    #: What the provider charges for it: nothing for a refusal, also for an answer that nobody read.
    charges: list[Usage] = field(default_factory=list)

    def hung_up(self, *, timeout_seconds: float = 2) -> bool:
        """Wait until the client hangs up on this request; False when it does not."""
        return self.abandoned.wait(timeout_seconds)

    @property
    def wants_stream(self) -> bool:
        return bool(self.body.get("stream"))

    @property
    def last_text(self) -> str:
        """The text of the last message, whatever its role."""
        content = self.body["messages"][-1]["content"]
        return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


class Exchange:
    """One request and the means to answer it: what a behaviour is handed."""

    def __init__(self, request: Received, handler: BaseHTTPRequestHandler, closing: threading.Event) -> None:
        self.request = request
        self._handler = handler
        self._closing = closing
        self._is_streaming = False

    def send_json(self, code: int, payload: object, headers: dict[str, str] | None = None) -> None:
        data = payload.encode() if isinstance(payload, str) else json.dumps(payload).encode()
        self._handler.send_response(code)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self._handler.send_header(name, value)
        self._handler.send_header("Content-Length", str(len(data)))
        self._handler.end_headers()
        self._handler.wfile.write(data)

    def start_stream(self) -> None:
        if self._is_streaming:
            return
        self._is_streaming = True
        self._handler.send_response(200)
        self._handler.send_header("Content-Type", "text/event-stream")
        self._handler.send_header("Transfer-Encoding", "chunked")
        self._handler.end_headers()

    def send_event(self, data: str) -> None:
        event = f"data: {data}\n\n".encode()
        self._handler.wfile.write(f"{len(event):x}\r\n".encode() + event + b"\r\n")
        self._handler.wfile.flush()

    def send_comment(self, text: str) -> None:
        line = f": {text}\n\n".encode()
        self._handler.wfile.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
        self._handler.wfile.flush()

    def charge(self, usage: Usage | None) -> None:
        """Charge for this request, in place of what was charged so far."""
        if usage is not None:
            self.request.charges[:] = [usage]

    def charge_chunk(self, chunk: dict[str, Any]) -> None:
        """Charge for one more piece of a streamed answer: its count of tokens, or one token a piece."""
        counted = chunk.get("usage")
        if counted:
            details = counted.get("prompt_tokens_details") or {}
            self.charge(
                Usage(counted["prompt_tokens"], counted["completion_tokens"], details.get("cached_tokens") or 0)
            )
        else:
            self.request.charges.append(Usage(0, 1, is_estimate=True))

    def end_stream(self) -> None:
        self._handler.wfile.write(b"0\r\n\r\n")

    def cut(self) -> None:
        """Break the connection here, as a dying proxy does."""
        self._handler.close_connection = True

    def wait(self, seconds: float | None = None) -> None:
        """Stay silent for so long, or (None) until the client or the test gives up."""
        until = None if seconds is None else time.monotonic() + seconds
        while until is None or time.monotonic() < until:
            if self._closing.wait(LOOK_SECONDS):
                break
            if self._client_left():
                raise ConnectionResetError("the client hung up")

    def _client_left(self) -> bool:
        readable, _, _ = select.select([self._handler.connection], [], [], 0)
        return bool(readable) and not self._handler.connection.recv(1, socket.MSG_PEEK)


#: How one request is answered.
Behaviour = Callable[[Exchange], None]
