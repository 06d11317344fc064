"""The stub provider's server: a thread a connection, a queue of behaviours, a record of requests."""

import contextlib
import json
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from tests.stub_openai.behaviours import status
from tests.stub_openai.exchange import Behaviour, Exchange, Received

API_KEY = "sk-stub-0123456789abcdef"


class StubOpenAI:
    """The server. Use it as a context manager; it listens once the block is entered."""

    def __init__(self) -> None:
        #: Every request so far, in the order of arrival.
        self.requests: list[Received] = []
        self._queue: deque[Behaviour] = deque()
        self._answer: Callable[[Received], Behaviour] = lambda _: status(400, message="nothing is scripted")
        self._closing = threading.Event()
        self._server: _Server | None = None

    def enqueue(self, *behaviours: Behaviour) -> None:
        """Answer the next requests so, one behaviour each."""
        self._queue.extend(behaviours)

    def answer_with(self, answer: Callable[[Received], Behaviour]) -> None:
        """Answer each request beyond the queue by a function of it, called in the server's threads."""
        self._answer = answer

    @property
    def base_url(self) -> str:
        assert self._server is not None, "enter the `with` block first"
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def wait_for_requests(self, count: int, *, timeout_seconds: float = 5) -> None:
        """Wait until so many requests have arrived. Raises `TimeoutError`."""
        _wait(lambda: len(self.requests) >= count, timeout_seconds)

    def wait_for_no_connections(self, *, timeout_seconds: float = 5) -> None:
        """Wait until no client holds a connection open, busy or idle. Raises `TimeoutError`."""
        server = self._server
        _wait(lambda: server is None or not server.open_connections(), timeout_seconds)

    def environment(self) -> dict[str, str]:
        """The variables that lead an OpenAI client of another process here."""
        return {"OPENAI_API_BASE": self.base_url, "OPENAI_BASE_URL": self.base_url, "OPENAI_API_KEY": API_KEY}

    def __enter__(self) -> Self:
        self._server = _Server(self._behaviour_for, self._closing)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        assert self._server is not None
        self._server.shutdown()
        self._server.close_connections()
        self._server.server_close()

    def _behaviour_for(self, request: Received) -> Behaviour:
        self.requests.append(request)
        try:
            return self._queue.popleft()
        except IndexError:
            return self._answer(request)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    #: A worker opens a hundred connections at once.
    request_queue_size = 512

    def __init__(self, choose: Callable[[Received], Behaviour], closing: threading.Event) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.choose = choose
        self.closing = closing
        self._open: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def open_connections(self) -> int:
        return len(self._open)

    def close_connections(self) -> None:
        """Wake handlers that wait for the next request of a kept-alive connection."""
        for connection in list(self._open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # closed between the two lines


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    #: Small pieces of a stream go out at once.
    disable_nagle_algorithm = True
    server: _Server

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Received(self.path, headers, json.loads(data or b"{}"), time.monotonic())
        try:
            self.server.choose(request)(Exchange(request, self, self.server.closing))
        except OSError:  # broken pipe, reset: the client went away
            request.abandoned.set()
            self.close_connection = True

    def handle(self) -> None:
        with contextlib.suppress(ConnectionResetError):  # a client that closes with unread data resets
            super().handle()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class names it so
        """Nothing: a test's output is its own."""


def _wait(condition: Callable[[], bool], timeout_seconds: float) -> None:
    until = time.monotonic() + timeout_seconds
    while not condition():
        if time.monotonic() > until:
            raise TimeoutError(f"not so within {timeout_seconds} s")
        time.sleep(0.005)
