"""The server of the strict stubs: the path tells the format, the script gives the answers."""

import json
import threading
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from tests.stub_providers import answers, anthropic_rules, bedrock_rules, gemini_rules, openai_rules
from tests.stub_providers.answers import Said
from tests.stub_providers.rules import Refused, parse

#: Each profile's model, and what leads litellm here.
FORMATS: dict[str, dict[str, Any]] = {
    "openai": {"model": "openai/gpt-4o"},
    "compatible": {"model": "openai/our-own"},
    "anthropic": {"model": "anthropic/claude-sonnet-4-5", "max_tokens": 4000},
    "gemini": {"model": "gemini/gemini-3-pro-preview"},
    "mistral": {"model": "mistral/mistral-large-latest"},
    "bedrock": {"model": "bedrock/converse/anthropic.claude-sonnet-4-20250514-v1:0"},
    "deepseek": {"model": "deepseek/deepseek-chat"},
    "openrouter": {"model": "openrouter/openai/gpt-4o"},
}
_AWS = {"aws_access_key_id": "a", "aws_secret_access_key": "b", "aws_region_name": "us-east-1"}


class StubProviders:
    """The server. Use it as a context manager; it listens once the block is entered."""

    def __init__(self) -> None:
        #: Bodies of the requests that were taken, with the profile that they were for.
        self.taken: list[tuple[str, dict[str, Any]]] = []
        #: What each refused request broke.
        self.refused: list[tuple[str, str]] = []
        #: Addresses that no provider can open.
        self.dead_addresses: set[str] = set()
        self._script: deque[Said] = deque()
        self._server: _Server | None = None

    def script(self, *said: Said) -> None:
        """Answer the next requests so, in order; "Fine." behind the last one."""
        self._script = deque(said)

    def clear(self) -> None:
        """Forget all requests, the script, and what is dead."""
        self.taken, self.refused, self.dead_addresses = [], [], set()
        self.script()

    def model(self, family: str) -> str:
        """The name of the model by which litellm asks for a profile."""
        return str(FORMATS[family]["model"])

    def parameters(self, family: str) -> dict[str, Any]:
        """The parameters that lead litellm to the stub of a profile."""
        assert self._server is not None, "enter the `with` block first"
        address = f"http://127.0.0.1:{self._server.server_address[1]}/{family}"
        fixed_parameters = {key: value for key, value in FORMATS[family].items() if key != "model"}
        match family:
            case "bedrock":
                return {"aws_bedrock_runtime_endpoint": address, **_AWS, **fixed_parameters}
            case "anthropic" | "gemini":
                return {"api_base": address, "api_key": "sk-stub", **fixed_parameters}
        return {"api_base": f"{address}/v1", "api_key": "sk-stub", **fixed_parameters}

    def answer(self, path: str, data: bytes) -> tuple[int, str, list[str]]:
        """The status, the type, and the pieces of the answer to one request."""
        family = path.split("/")[1]
        try:
            body = parse(data)
            self._check(family, body)
        except (Refused, ValueError, KeyError, TypeError) as refusal:
            self.refused.append((family, str(refusal)))
            error = {"message": str(refusal), "type": "invalid_request_error", "code": "invalid_request_error"}
            return 400, "application/json", [json.dumps({"error": error, "message": str(refusal)})]
        self.taken.append((family, body))
        said = self._script.popleft() if self._script else Said("Fine.")
        return _render(family, said, is_streamed=bool(body.get("stream")) or "stream" in path)

    def _check(self, family: str, body: dict[str, Any]) -> None:
        match family:
            case "anthropic":
                anthropic_rules.check(body, self.dead_addresses)
            case "gemini":
                gemini_rules.check(body, self.dead_addresses)
            case "bedrock":
                bedrock_rules.check(body)
            case _:
                openai_rules.check(body, family, self.dead_addresses)

    def __enter__(self) -> Self:
        self._server = _Server(self)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()


def _render(family: str, said: Said, *, is_streamed: bool) -> tuple[int, str, list[str]]:
    match family, is_streamed:
        case "anthropic", True:
            return 200, "text/event-stream", answers.anthropic_events(said)
        case "anthropic", False:
            whole = answers.anthropic(said)
        case "gemini", True:
            return 200, "text/event-stream", [f"data: {json.dumps(answers.gemini(said))}\n\n"]
        case "gemini", False:
            whole = answers.gemini(said)
        case "bedrock", _:
            whole = answers.bedrock(said)
        case _, True:
            return 200, "text/event-stream", answers.openai_events(said, family)
        case _:
            whole = answers.openai(said, family)
    return 200, "application/json", [json.dumps(whole)]


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, stubs: StubProviders) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.stubs = stubs


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status, kind, pieces = self.server.stubs.answer(self.path, data)
        content = "".join(pieces).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class names it so
        """Nothing: a test's output is its own."""
