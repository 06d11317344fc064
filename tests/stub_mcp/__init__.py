"""A stub MCP server over streamable HTTP, scripted by the test.

What stays true: it is real HTTP with sessions as the protocol of 2025 has them; every request is recorded with its
headers before it is answered; leaving the `with` block ends whatever still hangs.

    with StubMcp() as server:
        server.declare("add", {"type": "object"}, lambda arguments: text("3"))
        server.change_list()             # tells every client that listens
        server.forget_sessions()         # as a server that was started again
"""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from uuid import uuid4

Result = dict[str, Any]
ANY_OBJECT = {"type": "object", "properties": {}}


def text(*texts: str, **more: Any) -> Result:
    return {"content": [{"type": "text", "text": each} for each in texts], **more}


@dataclass(frozen=True, slots=True)
class Received:
    """One message, as it came over the wire."""

    http_method: str
    method: str
    params: dict[str, Any]
    headers: dict[str, str]


@dataclass(slots=True)
class StubMcp:
    """The server. Use it as a context manager; it listens once the block is entered."""

    requests: list[Received] = field(default_factory=list)
    tools: dict[str, dict[str, Any]] = field(default_factory=dict)
    answers: dict[str, Callable[[dict[str, Any]], Result]] = field(default_factory=dict)
    sessions: set[str] = field(default_factory=set)
    #: Listed in place of the declared tools, where it is not None.
    listed: object = None
    #: Answered to every request, where it is not 200.
    status: int = 200
    #: Where every request is sent on, where there is such a place.
    redirect: str = ""
    #: Counts what clients that listen were told.
    changes: int = 0
    listeners: int = 0
    closing: threading.Event = field(default_factory=threading.Event)
    _server: ThreadingHTTPServer | None = None

    def declare(
        self,
        name: str,
        schema: dict[str, Any] = ANY_OBJECT,
        answer: Callable[[dict[str, Any]], Result] = lambda _: text("done"),
        **more: Any,
    ) -> None:
        self.tools[name] = {"name": name, "description": f"Does {name}.", "inputSchema": schema, **more}
        self.answers[name] = answer

    def change_list(self) -> None:
        self.changes += 1

    def forget_sessions(self) -> None:
        self.sessions.clear()

    def called(self, method: str = "tools/call") -> list[Received]:
        return [received for received in self.requests if received.method == method]

    @property
    def url(self) -> str:
        assert self._server is not None, "enter the `with` block first"
        return f"http://127.0.0.1:{self._server.server_address[1]}/mcp"

    def __enter__(self) -> Self:
        stub = self

        class Handler(_Handler):
            server_of_test = stub

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_of_test: StubMcp

    def do_POST(self) -> None:
        message = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self._record("POST", message)
        stub = self.server_of_test
        if stub.redirect:
            return self._send(307, {"location": stub.redirect})
        if stub.status != 200:
            return self._send(stub.status, body={"error": "no"})
        method, session = message["method"], self.headers.get("mcp-session-id")
        if "id" not in message:
            return self._send(202)
        if method == "initialize":
            session = uuid4().hex
            stub.sessions.add(session)
        elif method.startswith("tools/") and session not in stub.sessions:
            return self._send(404)
        return self._send(200, {"mcp-session-id": session or ""}, self._answer(message))

    def _answer(self, message: dict[str, Any]) -> dict[str, Any]:
        stub, envelope = self.server_of_test, {"jsonrpc": "2.0", "id": message["id"]}
        match message["method"]:
            case "initialize":
                capabilities = {"tools": {"listChanged": True}}
                info = {"name": "stub", "version": "1"}
                version = message["params"]["protocolVersion"]
                return {
                    **envelope,
                    "result": {"protocolVersion": version, "capabilities": capabilities, "serverInfo": info},
                }
            case "tools/list":
                return {**envelope, "result": {"tools": stub.listed or list(stub.tools.values())}}
            case "tools/call":
                params = message["params"]
                return {**envelope, "result": stub.answers[params["name"]](params.get("arguments") or {})}
            case method:
                return {**envelope, "error": {"code": -32601, "message": f"no {method}"}}

    def do_GET(self) -> None:
        """A stream of what the server tells unasked."""
        self._record("GET", {})
        stub = self.server_of_test
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        told, stub.listeners = stub.changes, stub.listeners + 1
        while not stub.closing.is_set():
            time.sleep(0.01)
            if told < stub.changes:
                told = stub.changes
                event = b'data: {"jsonrpc":"2.0","method":"notifications/tools/list_changed"}\n\n'
                self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
                self.wfile.flush()

    def do_DELETE(self) -> None:
        self._record("DELETE", {})
        self._send(200)

    def _record(self, http_method: str, message: dict[str, Any]) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        received = Received(http_method, message.get("method", ""), message.get("params") or {}, headers)
        self.server_of_test.requests.append(received)

    def _send(self, status: int, headers: dict[str, str] | None = None, body: object = None) -> None:
        content = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing: the test knows."""
