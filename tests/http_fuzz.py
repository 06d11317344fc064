"""Requests that no client would send, over every operation that a gateway describes, and what it answers.

What stays true: a seed gives the same requests again. Each request is a valid one in which some things were replaced
by hostile ones: so it gets past the first check. An answer is looked at as a client would: its status is described,
its problem is a problem, it is not long, and it comes.
"""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote
from uuid import UUID

#: Seconds after which an answer that did not come is a hang.
HANG_SECONDS = 60
#: Bytes of a problem: it repeats nothing long.
PROBLEM_MAX_BYTES = 4_000

TEXTS = [
    *(
        "",
        " ",
        "a",
        "null",
        "true",
        "NaN",
        "-1",
        "1e309",
        "9" * 400,
        "0x10",
        "1_000",
        "a" * 256,
        "ä" * 300,
        "a" * 70_000,
    ),
    *(
        "\0",
        "a\0b",
        "\r\nX: y",
        "\t",
        "\x1b[31m",
        "\u202ex",
        "\u200b",
        "e\u0301",
        "\ufeff",
        "\ufffe",
        "\U000e0001",
        "\U0001f600",
    ),
    *(
        "../../etc/passwd",
        "a/b",
        "a\\b",
        "%",
        "%00",
        "%zz",
        "?x=1",
        "#",
        ";",
        "*",
        "'; drop table threads; --",
        "{{7*7}}",
    ),
    *("<script>", "${jndi:ldap://x}", "${x}", "\ud800", "\udfff", "a\ud83d", "default", "undefined", "[object Object]"),
    *(str(UUID(int=0)), str(UUID(int=2**128 - 1)), f"{{{UUID(int=5)}}}", f"urn:uuid:{UUID(int=7)}", "2026-01-01"),
    *("2026-02-30T00:00:00Z", "9999-12-31T23:59:59.999999999Z", "0000-01-01T00:00:00Z", "2026-01-01T00:00:00+99:99"),
]
NUMBERS: list[Any] = [
    *(0, 1, -1, 2, 49, 201, 2**31, -(2**31) - 1, 2**53 + 1, 2**63 - 1, 2**63, 2**64, -(2**63) - 1, 10**30, 10**400),
    *(0.5, -0.0, 1e308, -1e308, 1e-320, float("nan"), float("inf"), float("-inf")),
]
BODIES = [
    *(
        b"",
        b"{",
        b"[]",
        b"null",
        b"0",
        b'"x"',
        b"\xff\xfe",
        b"\xef\xbb\xbf{}",
        b"{}" * 3,
        b"{" + b'"a":1,' * 500 + b'"b":2}',
    ),
    *(b"[" * 60_000, b'{"a":' * 20_000, b"1" * 5000, b"-", b'{"content": "\\ud800"}', b'{"content": "\\u0000"}'),
    *(b'{"content": "a", "content": "b"}', b'{"metadata": {"a": 1e999}}', b"NaN", "{}".encode("utf-16"), b"\0" * 100),
    *(b"--x\r\n", b"--x--\r\n", b'--x\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\nabc'),
    b'--x\r\nContent-Disposition: form-data; name="content"\r\n\r\nhello\r\n--x--\r\n',
    b'--x\r\nContent-Disposition: form-data; name="file"; filename="../a.txt"\r\n\r\nhello\r\n--x--\r\n',
    b'--x\r\nContent-Disposition: form-data; name="content"\r\n\r\n\xff\xfe\r\n--x--\r\n',
    b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n' * 1500 + b"--x--\r\n",
    b"--x\r\n" + b"X: " + b"y" * 20_000 + b"\r\n\r\n1\r\n--x--\r\n",
]
KINDS = [
    *(
        "application/json",
        "application/json",
        "text/plain",
        "application/json; charset=utf-16",
        "application/merge-patch+json",
    ),
    *("multipart/form-data", "multipart/form-data; boundary=x", "multipart/form-data; boundary=" + "b" * 300, "a/b; c"),
    *("application/x-www-form-urlencoded", "", ";", "multipart/mixed; boundary=x", 'multipart/form-data; boundary="x'),
]
HEADERS = [
    *(
        "accept",
        "accept-encoding",
        "content-encoding",
        "expect",
        "host",
        "if-match",
        "if-none-match",
        "idempotency-key",
    ),
    *("idempotency-key", "last-event-id", "origin", "range", "transfer-encoding", "x-request-id", "x-forwarded-for"),
    *("authorization", "x-api-key", "cookie", "content-length", "x-http-method-override", "if-modified-since"),
]
HEADER_VALUES = [
    *(
        b"",
        b" ",
        b"*",
        b'"',
        b'"a"',
        b"W/",
        b'W/"a", "b"',
        b"a,b",
        b"\xff\xfe",
        b"\xc3\xa4",
        b"a" * 9000,
        b"0",
        b"-1",
        b"9" * 50,
    ),
    *(
        b"bytes=0-",
        b"bytes=9-1",
        b"text/event-stream",
        b"application/json;q=",
        b"gzip",
        b"100-continue",
        b"null",
        b"chunked",
    ),
    *(b"Bearer", b"Bearer x", b"Basic eDp5", b"Bearer tmk_x_y", b"identity", b"18446744073709551616", b"1.5", b"a:b:c"),
]


@dataclass(slots=True)
class FuzzedRequest:
    """One request, as a server hands it to an app."""

    method: str
    path: str
    query: str
    headers: list[tuple[bytes, bytes]]
    body: bytes

    def scope(self) -> dict[str, Any]:
        raw_path = self.path.encode("ascii")
        return {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": self.method,
            "scheme": "http",
            "path": unquote(self.path),
            "raw_path": raw_path,
            "query_string": self.query.encode("ascii"),
            "root_path": "",
            "headers": self.headers,
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 8700),
        }


@dataclass(slots=True)
class Fuzz:
    """A run over one app: what it sends, and what was wrong with the answers."""

    app: Callable[..., Awaitable[None]]
    document: dict[str, Any]
    random: random.Random
    #: The credentials that requests mostly have.
    authorization: bytes
    #: Values that the app knows, by the names of parameters and fields: those that answers have are learned.
    known: dict[str, list[Any]]
    statuses: Counter[int] = field(default_factory=Counter)
    complaints: list[str] = field(default_factory=list)
    #: How likely a value of the request that is being made is a hostile one.
    _malice: float = 0.0

    async def run(self, count: int, *, at_once: int = 8) -> None:
        """Send so many requests, and note what is wrong with their answers."""
        operations = [
            (path, method, operation)
            for path, item in self.document["paths"].items()
            for method, operation in item.items()
        ]
        remaining = iter(range(count))

        async def work() -> None:
            for _ in remaining:
                await self._try(*self.random.choice(operations))

        await asyncio.gather(*(work() for _ in range(at_once)))

    async def _try(self, path: str, method: str, operation: dict[str, Any]) -> None:
        request = self.make(path, method, operation)
        try:
            async with asyncio.timeout(HANG_SECONDS):
                status, headers, body = await self.call(request)
        except Exception as error:  # noqa: BLE001 - whatever leaves the app is what we look for
            self._complain(request, f"raised {error!r}")
            return
        self.statuses[status] += 1
        if complaint := self._check(request, operation, status, headers, body):
            self._complain(request, complaint)
        if status < 300 and body and headers.get("content-type") == "application/json":
            self._learn(json.loads(body))

    def _check(
        self, request: FuzzedRequest, operation: dict[str, Any], status: int, headers: dict[str, str], body: bytes
    ) -> str | None:
        if status >= 500:
            return f"status {status}: {body[:300]!r}"
        if "x-request-id" not in headers:
            return f"status {status} without a request id"
        described = self.document["paths"][operation["x-path"]].get(request.method.lower(), operation)["responses"]
        if str(status) not in described and status not in (404, 405):
            return f"status {status} is not described"
        if status >= 400:
            if headers.get("content-type") != "application/problem+json":
                return f"status {status} without a problem: {body[:200]!r}"
            problem = json.loads(body)
            if problem["status"] != status or not problem["detail"] or len(body) > PROBLEM_MAX_BYTES:
                return f"a wrong problem of {len(body)} bytes: {body[:300]!r}"
        return None

    def _complain(self, request: FuzzedRequest, complaint: str) -> None:
        shown = f"{request.method} {request.path[:200]}?{request.query[:200]} {request.headers} {request.body[:200]!r}"
        self.complaints.append(f"{complaint}\n    of {shown[:1200]}")

    async def call(self, request: FuzzedRequest) -> tuple[int, dict[str, str], bytes]:
        """Call the app. Of a stream, the first piece is enough: then the client goes."""
        pieces: list[bytes] = []
        start: dict[str, Any] = {}
        is_over = asyncio.Event()
        bodies = [request.body[: len(request.body) // 2], request.body[len(request.body) // 2 :]]

        async def receive() -> dict[str, Any]:
            if bodies:
                piece = bodies.pop(0)
                return {"type": "http.request", "body": piece, "more_body": bool(bodies)}
            await is_over.wait()
            return {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
                return
            pieces.append(message.get("body", b""))
            headers = dict(start["headers"])
            if not message.get("more_body") or headers.get(b"content-type", b"").startswith(b"text/event-stream"):
                is_over.set()

        await self.app(request.scope(), receive, send)
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in start["headers"]}
        return start["status"], headers, b"".join(pieces)

    def make(self, path: str, method: str, operation: dict[str, Any]) -> FuzzedRequest:
        """Make a request to an operation, and spoil some of it."""
        operation["x-path"] = path
        self._malice = self.random.choice([0.005, 0.05, 0.25])
        query: list[tuple[str, Any]] = []
        headers = [(b"authorization", self.authorization)]
        for parameter in operation.get("parameters", ()):
            value = self._value(parameter["schema"], parameter["name"])
            if parameter["in"] == "path":
                path = path.replace(f"{{{parameter['name']}}}", _quote(_text(value)))
            elif parameter["in"] == "query" and self._is(0.3):
                query.append((parameter["name"], value))
        if path.endswith("/events") and self._is(0.9):
            query.append(("wait", 0))
        if self._is(0.05):
            query.append((self._text(), self._text()))
        kind, body = self._body(operation)
        headers += [(b"content-type", kind.encode("latin-1"))] if kind else []
        while self._is(2 * self._malice):
            value = self.random.choice(HEADER_VALUES)
            headers.append((self.random.choice(HEADERS).encode(), value))
        if self._is(0.03):
            method = self.random.choice(["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "TRACE", "ODD"])
        if self._is(0.02):
            path = self.random.choice(["/", "//", path + "/", path.upper(), "/v1" + _quote(self._text()), path + "%2f"])
        text = "&".join(f"{_quote(name)}={_quote(_text(value))}" for name, value in query)
        return FuzzedRequest(method.upper(), path, text, headers, body)

    def _body(self, operation: dict[str, Any]) -> tuple[str, bytes]:
        contents = operation.get("requestBody", {}).get("content", {})
        if (not contents and self._is(0.95)) or self._is(0.02):
            return "", b""
        if not contents or self._is(self._malice):
            return self.random.choice(KINDS), self.random.choice(BODIES)
        kind, content = self.random.choice(sorted(contents.items()))
        value = self._value(content.get("schema", {}), "")
        if kind.startswith("multipart/"):
            return f"{kind}; boundary=x", self._form(value if isinstance(value, dict) else {})
        if self._is(0.05):
            kind = self.random.choice(KINDS)
        return kind, json.dumps(value).encode()

    def _form(self, fields: dict[str, Any]) -> bytes:
        parts = []
        for name, value in fields.items():
            file = '; filename="a.txt"\r\nContent-Type: text/plain' if name in ("file", "files") else ""
            text = _text(value) if not isinstance(value, list | dict) else json.dumps(value)
            parts.append(f'--x\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n{text}\r\n')
        return ("".join(parts) + "--x--\r\n").encode("utf-8", "replace")

    def _value(self, schema: dict[str, Any], name: str, depth: int = 0) -> Any:
        """A value of a schema, mostly; what the app knows by this name, often."""
        if self._is(self._malice):
            return self._hostile(depth)
        if self.known.get(name) and self._is(0.8):
            return self.random.choice(self.known[name])
        if "$ref" in schema:
            schema = self.document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        for choice in ("anyOf", "oneOf"):
            if choice in schema:
                return self._value(self.random.choice(schema[choice]), name, depth)
        if "enum" in schema or "const" in schema:
            return self.random.choice(schema.get("enum", [schema.get("const")]))
        return self._of_type(schema, name, depth)

    def _of_type(self, schema: dict[str, Any], name: str, depth: int) -> Any:
        match schema.get("type"):
            case "object":
                properties, required = schema.get("properties", {}), schema.get("required", ())
                chosen = {key for key in properties if key in required or self._is(0.3)}
                return {key: self._value(properties[key], key, depth + 1) for key in properties if key in chosen}
            case "array":
                return [self._value(schema.get("items", {}), name, depth + 1) for _ in range(self.random.randrange(3))]
            case "integer" | "number" | "boolean" | "null" as kind:
                return self.random.choice({"integer": [-1, 0, 1, 7, 59], "number": [0, 0.1, 1]}.get(kind, [True, None]))
            case _ if schema.get("format") == "date-time":
                return self.random.choice(["2026-01-01T00:00:00Z", "2126-01-01T00:00:00+02:00"])
            case _:
                return self.random.choice(["hello", "a", "0" * 64, str(UUID(int=self.random.getrandbits(128)))])

    def _hostile(self, depth: int) -> Any:
        match self.random.randrange(6):
            case 0 | 1 | 2:
                return self._text()
            case 3:
                return self.random.choice(NUMBERS)
            case 4:
                return self.random.choice([None, True, [], {}, [[[]]], {"": {"": []}}])
            case _ if depth > 4:
                return {}
            case _:
                return {self._text(): self._hostile(depth + 1) for _ in range(self.random.randrange(4))}

    def _text(self) -> str:
        return self.random.choice(TEXTS)

    def _is(self, probability: float) -> bool:
        return self.random.random() < probability

    def _learn(self, value: Any) -> None:
        """Learn what an answer names: its ids, and the cursors of its pages, some of them spoilt."""
        if isinstance(value, list):
            for each in value[:3]:
                self._learn(each)
        elif isinstance(value, dict):
            is_turn = "attempt" in value
            for name, each in value.items():
                self._learn(each)
                if isinstance(each, str) and name in ("id", "next_cursor", "sha256", "token"):
                    self._know(
                        {"id": "turn_id" if is_turn else "thread_id", "next_cursor": "cursor"}.get(name, name), each
                    )

    def _know(self, name: str, text: str) -> None:
        values = self.known.setdefault(name, [])
        if self._is(0.2) and text:
            place = self.random.randrange(len(text))
            text = text[:place] + self.random.choice(["", "x", "=", "\0", "ä"]) + text[place + 1 :]
        values.append(text)
        if len(values) > 40:
            del values[self.random.randrange(len(values))]


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    if isinstance(value, int | float):
        return str(value) if abs(value) < 10**300 or isinstance(value, float) else "1" + "0" * 400
    return json.dumps(value)


def _quote(text: str) -> str:
    return quote(text.encode("utf-8", "surrogatepass"), safe="")
