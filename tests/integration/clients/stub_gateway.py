"""A gateway of a few routes, on raw sockets, that breaks off where it is told to.

What stays true: how it behaves stands in the first segment of the base address, so each client under test, in
whatever language, has a stub of its own: `lose` answers nothing to the first try of each POST, `half` breaks the
answer off, `busy` refuses thrice, `cut-3` ends each stream after three events, `drip` sends bytes one by one.
"""

import asyncio
import json
import random
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

KEY = "tm_a-secret-key"
EVENTS_OF_A_TURN = 40
#: By try: what `busy` answers.
BUSY = [(503, {"Retry-After": "0"}, None), (429, {"Retry-After": "0"}, None), (409, {"Retry-After": "0"}, True)]


def events_of(turn_id: str) -> list[dict[str, Any]]:
    """What a turn's stream has: notices, letters of many bytes, kinds that no client knows, texts over lines."""
    common = {"thread_id": "a", "turn_id": turn_id}
    events: list[dict[str, Any]] = [
        {"type": "turn.queued", "id": None, "position": 0, **common},
        {"type": "turn.started", "id": 1, "attempt": 1, "agent": "assistant", **common},
    ]
    for number in range(2, EVENTS_OF_A_TURN):
        delta = {"type": "message.delta", "id": number, "message_id": f"{turn_id}-0", "text": f"№{number} 🧵\u2028\n"}
        unknown = {"type": "message.hummed", "id": number, "tune": "la"}
        events.append({**common, **(unknown if number % 10 == 0 else delta)})
    text = "".join(event.get("text", "") for event in events)
    message = {"id": f"{turn_id}-0", "role": "assistant", "content": text, "created_at": "2030-01-31T12:00:00Z"}
    done = {"type": "message.done", "id": EVENTS_OF_A_TURN, "message": message, **common}
    ended = {"type": "turn.ended", "id": EVENTS_OF_A_TURN + 1, "state": "completed", "cost": None, **common}
    return [*events, done, ended]


@dataclass
class Call:
    """One request as it came."""

    method: str
    #: Behind the first segment.
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    behaviour: str

    @property
    def kind(self) -> str:
        return self.behaviour.removeprefix("node-").partition("-")[0]

    @property
    def count(self) -> int:
        """The number behind it; 0 without one."""
        return int(self.behaviour.removeprefix("node-").partition("-")[2] or 0)

    def json(self) -> Any:
        return json.loads(self.body or b"null")


@dataclass
class Stub:
    """What the stub was asked, and what it made."""

    port: int = 0
    calls: list[Call] = field(default_factory=list)
    #: By behaviour and key.
    answers: dict[tuple[str, str], tuple[int, Any]] = field(default_factory=dict)
    tries: Counter[tuple[str, str]] = field(default_factory=Counter)
    threads: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    files: dict[str, bytes] = field(default_factory=dict)

    def url(self, behaviour: str = "plain") -> str:
        return f"http://127.0.0.1:{self.port}/{behaviour}"

    def asked(self, behaviour: str) -> list[Call]:
        return [call for call in self.calls if call.behaviour == behaviour]

    def forget(self) -> None:
        """Begin anew."""
        for each in (self.calls, self.answers, self.tries, self.threads, self.files):
            each.clear()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while call := await read_call(reader):
                self.calls.append(call)
                if not await self._answer(call, writer):
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        writer.transport.abort()

    async def _answer(self, call: Call, writer: asyncio.StreamWriter) -> bool:  # noqa: PLR0911 - one for each behaviour
        key = (call.behaviour, call.headers.get("idempotency-key", f"{call.method} {call.path}"))
        self.tries[key] += 1
        if call.kind == "page":
            return await respond(writer, 200, b"<html>", {"Content-Type": "text/html"})
        if call.kind == "moved":
            return await respond(writer, 307, None, {"Location": self.url()})
        if call.kind == "busy" and self.tries[key] <= len(BUSY):
            status, headers, retryable = BUSY[self.tries[key] - 1]
            body = {"title": "Later", "status": status} | ({"retryable": retryable} if retryable else {})
            return await respond(writer, status, body, headers)
        if call.path.endswith("/events"):
            return await self._stream(call, writer)
        if call.path.startswith("/bucket/") or "/files/" in call.path:
            return await self._file(call, writer)
        if call.method != "POST" or key not in self.answers:
            self.answers[key] = route(self, call)
        status, body = self.answers[key]
        if call.method == "POST" and self.tries[key] == 1 and call.kind in ("lose", "half"):
            if call.kind == "half":
                await respond(writer, status, body, cut=True)
            return False
        return await respond(writer, status, body, {"ETag": '"1"'})

    async def _stream(self, call: Call, writer: asyncio.StreamWriter) -> bool:
        after = int(call.headers.get("last-event-id") or 0)
        turn_id = call.path.split("/")[3]
        left = [event for event in events_of(turn_id) if (event["id"] or 0) > after or not after]
        again = [event for event in events_of(turn_id)[1:] if event["id"] <= after] if call.kind == "again" else []
        if not left:
            return await respond(writer, 204, None)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        # The notice, which the first connection has, is none of them.
        limit = (call.count or len(left)) + (not after)
        stream = "".join(encode(event) for event in [*again, *left[:limit]]).encode()
        if limit < len(left):
            # The next event begins, and is not whole: cut somewhere in it, perhaps within a letter.
            begun = encode(left[limit]).encode()
            stream += begun[: random.randrange(len(begun) - 1)]
        stream = b"\xef\xbb\xbf:\nretry: 1\n\n" + stream
        size = 1 if call.kind == "drip" else 23
        for start in range(0, len(stream), size):
            chunk = stream[start : start + size]
            writer.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
            await writer.drain()
        if call.kind == "mute" and limit < len(left):
            await asyncio.sleep(30)
        if limit < len(left):
            return False
        writer.write(b"0\r\n\r\n")
        return True

    async def _file(self, call: Call, writer: asyncio.StreamWriter) -> bool:
        name = call.path.rpartition("/")[2]
        if call.method == "PUT":
            self.files[name] = call.body
            return await respond(writer, 200, None)
        if call.path.startswith("/bucket/"):
            return await respond(writer, 200, self.files[name])
        location = f"/{call.behaviour}/bucket/{name}?X-Amz-Signature=hush"
        return await respond(writer, 307, None, {"Location": location})


def route(stub: Stub, call: Call) -> tuple[int, Any]:  # noqa: C901, PLR0911 - a table
    """The answer of a route without streams and files."""
    parts = [unquote(part) for part in call.path.split("/")[2:]]
    if call.headers.get("authorization") != f"Bearer {KEY}":
        return 401, {"title": "Unauthorized", "status": 401, "detail": "no valid key", "request_id": "r-1"}
    match call.method, parts:
        case "POST", ["threads", thread, "messages"]:
            turns = stub.threads[call.behaviour + thread]
            turns.append(f"{thread}-{len(turns)}")
            return 202, {"turn": {"id": turns[-1], "thread_id": thread, "state": "queued"}}
        case "GET", ["threads", thread, "turns"]:
            turns = stub.threads[call.behaviour + thread]
            start = int(call.query.get("cursor", 0))
            found = [{"id": each, "thread_id": thread, "state": "completed"} for each in turns[start : start + 2]]
            return 200, {"turns": found, "next_cursor": str(start + 2) if start + 2 < len(turns) else None}
        case "GET", ["turns", turn]:
            state = "completed" if stub.tries[call.behaviour, f"GET {call.path}"] > 2 else "running"
            return 200, {"id": turn, "thread_id": "a", "state": state}
        case "GET", ["threads", "missing"]:
            return 404, {"title": "Not Found", "status": 404, "detail": "thread_id: no such thread is stored"}
        case (("GET" | "PATCH"), ["threads", thread]):
            return 200, {"id": thread, "title": (call.json() or {}).get("title")}
        case "POST", ["threads"]:
            return 201, call.json()
        case "POST", ["threads", _, "stream-tokens"]:
            return 201, {"token": "tms_hush", "expires_at": "2030-01-31T12:00:00Z"}
        case "POST", ["turns", turn, "pending", call_id]:
            return 200, {"call": {"turn_id": turn, "call_id": call_id, **call.json()}}
        case ("GET", ["pending"]) | ("GET", ["turns", _, "pending"]):
            return 200, {"pending": [{"turn_id": "t", "call_id": "c"}], "next_cursor": None}
        case "POST", ["uploads"]:
            address = f"{stub.url(call.behaviour)}/bucket/{call.json()['sha256']}?X-Amz-Signature=hush"
            return 201, {"id": "u1", "url": address, "method": "PUT", "headers": {"x-amz-checksum": "abc"}}
        case "POST", ["uploads", "u1", "complete"] | ["files"]:
            return 201, {"sha256": "5" * 64, "filename": "a.txt", "media_type": "text/plain", "size": 3}
    return 404, {"title": "Not Found", "status": 404}


def encode(event: dict[str, Any]) -> str:
    """An event as the gateway sends it."""
    number = "" if event["id"] is None else f"id: {event['id']}\n"
    return f"event: {event['type']}\n{number}data: {json.dumps(event, ensure_ascii=False)}\n\n"


async def read_call(reader: asyncio.StreamReader) -> Call | None:
    """The next request of a connection; None at its end."""
    line = await reader.readline()
    if not line:
        return None
    method, target, _ = line.decode().split()
    headers = {}
    while (line := await reader.readline()) != b"\r\n":
        name, _, value = line.decode().partition(":")
        headers[name.lower()] = value.strip()
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    url = urlsplit(target)
    behaviour, _, rest = url.path.removeprefix("/").partition("/")
    query = {name: values[-1] for name, values in parse_qs(url.query).items()}
    return Call(method, f"/{rest}", query, headers, body, behaviour)


async def respond(
    writer: asyncio.StreamWriter, status: int, body: Any, headers: dict[str, str] | None = None, *, cut: bool = False
) -> bool:
    """Send an answer, or its half; returns whether the connection goes on."""
    data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {"Content-Type": "application/json", "Content-Length": str(len(data)), **(headers or {})}
    if status == 204:
        del named["Content-Length"]
    head = f"HTTP/1.1 {status} .\r\n" + "".join(f"{name}: {value}\r\n" for name, value in named.items()) + "\r\n"
    writer.write(head.encode() + (data[: len(data) // 2] if cut else data))
    await writer.drain()
    return not cut


@contextmanager
def running_stub() -> Iterator[Stub]:
    """A stub on a port of its own, in a thread."""
    stub, ready = Stub(), threading.Event()
    control: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def serve() -> None:
        server = await asyncio.start_server(stub.serve, "127.0.0.1", 0)
        stub.port = server.sockets[0].getsockname()[1]
        control.append((asyncio.get_running_loop(), asyncio.Event()))
        ready.set()
        await control[0][1].wait()
        server.close()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert ready.wait(30)
    yield stub
    loop, end = control[0]
    loop.call_soon_threadsafe(end.set)
    thread.join(30)
