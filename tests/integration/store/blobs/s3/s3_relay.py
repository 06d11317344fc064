"""Something that stands between a client and an S3 server: it listens, and breaks what it is told to.

What is true here: a request that no fault is for goes on as it came, under the host that the client
signed for, so that the server checks the signature of every request.
"""

import http.client
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, urlsplit

SLOW_DOWN = b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Please reduce your rate.</Message></Error>"


@dataclass(frozen=True)
class Heard:
    """One request, as it came in."""

    method: str
    #: Without the question behind it.
    path: str
    query: dict[str, list[str]] = field(repr=False)
    #: Names in lower case.
    headers: dict[str, str] = field(repr=False)


@dataclass(frozen=True)
class Busy:
    """Answer 503 SlowDown, and ask nobody."""


@dataclass(frozen=True)
class Cut:
    """Let the request through, and hang up after so many bytes of the answer's body."""

    after: int


@dataclass(frozen=True)
class Late:
    """Let the request through after so many seconds."""

    seconds: float


@dataclass(frozen=True)
class HangUp:
    """Read the request, and end the connection without a word."""


Fault = Busy | Cut | Late | HangUp | None


class S3Relay:
    """Listens on a port of this machine; `endpoint` leads to it. `fault` is asked about each request."""

    def __init__(self, upstream: str) -> None:
        self.upstream = urlsplit(upstream).netloc
        self.heard: list[Heard] = []
        self.fault: Callable[[Heard], Fault] = lambda heard: None
        relay = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self) -> None:
                self.raw_requestline = self.rfile.readline(65537)
                if not self.raw_requestline or not self.parse_request():
                    self.close_connection = True
                    return
                relay._serve(self)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def fail(self, method: str, *faults: Fault, query: str = "") -> None:
        """Break the next requests of this method (with this name in the query) one after the other."""
        left = list(faults)

        def fault(heard: Heard) -> Fault:
            return left.pop(0) if left and heard.method == method and (not query or query in heard.query) else None

        self.fault = fault

    def count(self, method: str, query: str = "") -> int:
        return sum(heard.method == method and (not query or query in heard.query) for heard in self.heard)

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        parts = urlsplit(handler.path)
        heard = Heard(
            handler.command,
            parts.path,
            parse_qs(parts.query, keep_blank_values=True),
            {name.lower(): value for name, value in handler.headers.items()},
        )
        self.heard.append(heard)
        fault = self.fault(heard)
        if isinstance(fault, HangUp):
            handler.close_connection = True
            return
        if isinstance(fault, Late):
            time.sleep(fault.seconds)
        if isinstance(fault, Busy):
            _answer(handler, 503, [("Content-Type", "application/xml")], SLOW_DOWN)
            return
        self._pass_on(handler, body, fault)

    def _pass_on(self, handler: BaseHTTPRequestHandler, body: bytes, fault: Fault) -> None:
        connection = http.client.HTTPConnection(self.upstream, timeout=60)
        try:
            connection.putrequest(handler.command, handler.path, skip_host=True, skip_accept_encoding=True)
            for name, value in handler.headers.items():
                if name.lower() not in ("connection", "expect"):
                    connection.putheader(name, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            content = answer.read()
            kept = [item for item in answer.getheaders() if item[0].lower() not in ("connection", "transfer-encoding")]
            cut = fault.after if isinstance(fault, Cut) else None
            _answer(handler, answer.status, kept, content, cut=cut)
        finally:
            connection.close()


def _answer(
    handler: BaseHTTPRequestHandler, status: int, headers: list[tuple[str, str]], body: bytes, *, cut: int | None = None
) -> None:
    handler.send_response_only(status)
    for name, value in headers:
        if name.lower() != "content-length" or handler.command == "HEAD":
            handler.send_header(name, value)
    if handler.command != "HEAD" and status != 204:
        handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    try:
        handler.wfile.write(b"" if handler.command == "HEAD" else body[:cut])
        handler.wfile.flush()
    except OSError:  # the client did not wait
        handler.close_connection = True
    if cut is not None:
        handler.close_connection = True
