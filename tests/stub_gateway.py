"""A gateway without a store: the routes of the chat page over memory, with turns that tests script.

What stays true: an event has a number that rises over its thread's life; a message under a key that was seen is not
sent again; a turn runs after those before it. What a message says is what its turn does, see `BEHAVIOURS`.
"""

import asyncio
import hashlib
import json
import socket
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from producers.http.page import page_route
from store.settings import load

PAGE = Path(__file__).parents[1] / "examples" / "web" / "chat" / "index.html"
KEY = "key-of-the-tests"
#: Seconds between two comments of a stream that has nothing to say.
HEARTBEAT_SECONDS = 10.0


@dataclass
class Thread:
    """One thread: what was said, and every event of it."""

    id: str
    title: str | None = None
    events: list[dict[str, Any]] = field(default_factory=list)
    messages: list[dict[str, Any]] = field(default_factory=list)
    turns: list[dict[str, Any]] = field(default_factory=list)
    number: int = 0
    updated_at: str = ""

    def touch(self) -> None:
        self.updated_at = datetime.now(UTC).isoformat()

    def tell(self, kind: str, turn: dict[str, Any] | None, **fields: Any) -> None:
        """Add an event behind all that were told."""
        self.number += 1
        common = {"type": kind, "id": self.number, "thread_id": self.id, "turn_id": turn and turn["id"]}
        self.events.append(common | fields)

    def say(self, turn: dict[str, Any], message_id: str, role: str, content: str, **fields: Any) -> None:
        """Add a whole message."""
        blank = {"tool_calls": [], "tool_call_id": None, "name": None, "reasoning": None, "metadata": {}}
        blank |= {"parts": [], "attachments": [], "state": "complete", "turn_id": turn["id"]}
        message = {"id": message_id, "role": role, "content": content, **blank, **fields}
        self.tell("message.done", turn, message=message)
        self.messages.append({**message, "event_id": self.number})
        self.touch()

    def stream(self, turn: dict[str, Any], message_id: str, pieces: list[str]) -> None:
        for piece in pieces:
            self.tell("message.delta", turn, message_id=message_id, text=piece)

    def json(self) -> dict[str, Any]:
        running = next((turn["id"] for turn in self.turns if turn["state"] == "running"), None)
        common = {"id": self.id, "title": self.title, "user": None, "metadata": {}, "messages": len(self.messages)}
        return common | {"updated_at": self.updated_at, "running_turn": running, "last_event_id": self.number}


class StubGateway:
    """Serves the routes on a port of this machine, from a thread of its own."""

    def __init__(self) -> None:
        self.threads: dict[str, Thread] = {}
        self.files: dict[str, tuple[bytes, str, str]] = {}
        self.sent: dict[str, dict[str, Any]] = {}
        self.requests: list[str] = []
        #: Events without a number.
        self.notices: list[dict[str, Any]] = []
        self.halts: dict[str, asyncio.Event] = {}
        #: Answer each request with this problem.
        self.problem: tuple[int, dict[str, Any]] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._server = uvicorn.Server(uvicorn.Config(self._app(), log_level="warning", lifespan="off"))
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._run, name="stub gateway", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.should_exit = self._server.force_exit = True
        self._thread.join()
        self._socket.close()

    def _run(self) -> None:
        asyncio.run(self._server.serve([self._socket]))

    def find(self, turn_id: str) -> tuple[Thread, dict[str, Any]]:
        return next(
            (thread, turn) for thread in self.threads.values() for turn in thread.turns if turn["id"] == turn_id
        )

    # Turns

    def queue(self, thread: Thread, content: str, **fields: Any) -> dict[str, Any]:
        turn = {"id": f"turn-{thread.id}-{len(thread.turns)}", "thread_id": thread.id, "state": "queued", "attempt": 0}
        turn |= {"content": content, "fields": fields, "error": None, "is_cancelled": False}
        thread.turns.append(turn)
        self.halts[turn["id"]] = asyncio.Event()
        self._start(self._run_turn(thread, turn))
        return turn

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run_turn(self, thread: Thread, turn: dict[str, Any]) -> None:
        while before := waiting_before(thread, turn):
            turn["position"] = before
            await asyncio.sleep(0.02)
            if turn["state"] == "cancelled":
                return
        turn["state"], turn["attempt"] = "running", turn["attempt"] + 1
        content = turn["content"]
        turn["agent"] = "desk" if content.startswith("desk") else "stub"
        thread.tell("turn.started", turn, attempt=turn["attempt"], agent=turn["agent"])
        if turn["attempt"] == 1:
            thread.say(turn, f"{turn['id']}-q", "user", content, **turn["fields"])
        behaviour = BEHAVIOURS.get(content.partition(" ")[0], echo)
        await behaviour(self, thread, turn)
        if turn["state"] == "running":
            turn["state"] = "cancelled" if turn["is_cancelled"] else "completed"
        thread.tell("turn.ended", turn, state=turn["state"], error=turn["error"])

    # Routes

    def _app(self) -> Starlette:
        routes = {
            "GET /v1/threads": self.list_threads,
            "POST /v1/threads": self.create_thread,
            "GET /v1/threads/{id}/messages": self.list_messages,
            "POST /v1/threads/{id}/messages": self.send,
            "GET /v1/threads/{id}/turns": self.list_turns,
            "GET /v1/threads/{id}/events": self.follow_thread,
            "GET /v1/events": self.follow_all,
            "GET /v1/threads/{id}/files/{sha256}": self.read_file,
            "GET /v1/threads/{id}/files/{sha256}/thumbnail": self.read_file,
            "POST /v1/files": self.store_file,
            "POST /v1/turns/{id}/cancel": self.cancel,
            "POST /v1/turns/{id}/requeue": self.requeue,
            "POST /v1/turns/{id}/pending/{call}": self.decide,
        }
        table = [page_route(PAGE, load())]
        for route, act in routes.items():
            method, path = route.split()
            table.append(Route(path, self._guard(act), methods=[method]))
        return Starlette(routes=table)

    def _guard(self, act: Callable[[Request], Coroutine[Any, Any, Response]]) -> Callable[..., Any]:
        async def answer(request: Request) -> Response:
            self.requests.append(f"{request.method} {request.url.path}?{request.url.query}")
            if request.headers.get("authorization") != f"Bearer {KEY}":
                return refuse(401, "no valid key or token came with the request")
            if self.problem:
                return refuse(self.problem[0], **self.problem[1])
            thread = request.path_params.get("id", "")
            if "/threads/" in request.url.path and thread not in self.threads:
                return refuse(404, "there is no such thread")
            return await act(request)

        return answer

    async def list_threads(self, _: Request) -> Response:
        threads = sorted(self.threads.values(), key=lambda thread: thread.updated_at, reverse=True)
        return JSONResponse({"threads": [thread.json() for thread in threads], "next_cursor": None})

    async def create_thread(self, request: Request) -> Response:
        wish = await request.json()
        if wish["id"] in self.threads:
            return refuse(409, "a thread of this id exists")
        thread = self.threads[wish["id"]] = Thread(wish["id"], wish.get("title"))
        thread.touch()
        return JSONResponse(thread.json(), 201)

    async def list_messages(self, request: Request) -> Response:
        thread = self.threads[request.path_params["id"]]
        messages = thread.messages
        pending = [
            {"turn_id": turn["id"], "content": turn["content"], **turn["fields"]}
            for turn in thread.turns
            if turn["state"] == "queued"
        ]
        limit, end = int(request.query_params["limit"]), int(request.query_params.get("cursor", len(messages)))
        page = messages[max(0, end - limit) : end][::-1]
        next_cursor = str(end - limit) if end > limit else None
        return JSONResponse({"messages": page, "pending": pending, "next_cursor": next_cursor})

    async def list_turns(self, request: Request) -> Response:
        turns = self.threads[request.path_params["id"]].turns[::-1]
        return JSONResponse({"turns": turns, "next_cursor": None})

    async def send(self, request: Request) -> Response:
        key, wish = request.headers["idempotency-key"], await request.json()
        if key not in self.sent:
            files = [self.describe_file(file["sha256"]) for file in wish.get("attachments", [])]
            thread = self.threads[request.path_params["id"]]
            self.sent[key] = self.queue(thread, wish["content"], attachments=files, metadata=wish["metadata"])
        return JSONResponse({"turn": self.sent[key]}, 202)

    async def cancel(self, request: Request) -> Response:
        thread, turn = self.find(request.path_params["id"])
        turn["is_cancelled"] = True
        self.halts[turn["id"]].set()
        if turn["state"] == "queued":
            turn["state"] = "cancelled"
            # It has no place: no worker began it.
            self.notice("turn.ended", thread, turn, state="cancelled", error=None)
        return JSONResponse({"turn": turn}, 202)

    async def requeue(self, request: Request) -> Response:
        thread, turn = self.find(request.path_params["id"])
        turn |= {"state": "queued", "error": None}
        self._start(self._run_turn(thread, turn))
        return JSONResponse({"turn": turn}, 202)

    async def decide(self, request: Request) -> Response:
        thread, turn = self.find(request.path_params["id"])
        call = turn["call"] | await request.json() | {"decided_by": "ada"}
        turn["call"] = call
        self.notice("turn.decided", thread, turn, call=call)
        self.halts[turn["id"]].set()
        return JSONResponse({"call": call})

    def notice(self, kind: str, thread: Thread, turn: dict[str, Any], **fields: Any) -> None:
        """Tell those who follow the thread now."""
        self.notices.append({"type": kind, "id": None, "thread_id": thread.id, "turn_id": turn["id"], **fields})

    async def store_file(self, request: Request) -> Response:
        async with request.form() as form:
            file: Any = form["file"]
            content = await file.read()
            sha256 = hashlib.sha256(content).hexdigest()
            self.files[sha256] = (content, file.filename, file.content_type)
        return JSONResponse(self.describe_file(sha256), 201)

    def describe_file(self, sha256: str) -> dict[str, Any]:
        content, filename, media_type = self.files[sha256]
        return {"sha256": sha256, "filename": filename, "media_type": media_type, "size": len(content)}

    async def read_file(self, request: Request) -> Response:
        content, _, media_type = self.files[request.path_params["sha256"]]
        return Response(content, media_type=media_type)

    async def follow_thread(self, request: Request) -> Response:
        thread = self.threads[request.path_params["id"]]
        after = int(request.headers.get("last-event-id", 0))
        return stream(self._read_events([thread], {thread.id: after}))

    async def follow_all(self, _: Request) -> Response:
        return stream(self._read_events(None, {thread.id: thread.number for thread in self.threads.values()}))

    async def _read_events(self, followed: list[Thread] | None, after: dict[str, int]) -> AsyncIterator[str]:
        yield ": hello\n\nretry: 200\n\n"
        waiting: dict[str, int] = {}
        idle = 0.0
        noticed = len(self.notices)
        is_fresh = True
        while not self._server.should_exit:
            for thread in followed or list(self.threads.values()):
                for event in [event for event in thread.events if event["id"] > after.get(thread.id, 0)]:
                    after[thread.id] = event["id"]
                    yield f"event: {event['type']}\nid: {event['id']}\ndata: {json.dumps(event)}\n\n"
                for turn in thread.turns:
                    position = turn.get("position", 0)
                    if turn["state"] == "queued" and waiting.get(turn["id"]) != position:
                        waiting[turn["id"]] = position
                        notice = {"type": "turn.queued", "id": None, "thread_id": thread.id, "turn_id": turn["id"]}
                        yield f"event: turn.queued\ndata: {json.dumps(notice | {'position': position})}\n\n"
            # Behind what has a number; what waits is told anew to each viewer that comes.
            waiting_turns = [turn for thread in followed or [] for turn in thread.turns if turn["state"] == "waiting"]
            for turn in waiting_turns if is_fresh else []:
                common = {"type": "turn.waiting", "id": None, "thread_id": turn["thread_id"], "turn_id": turn["id"]}
                yield f"event: turn.waiting\ndata: {json.dumps(common | {'calls': [turn['call']]})}\n\n"
            is_fresh = False
            for notice in self.notices[noticed:]:
                noticed += 1
                if followed is None or notice["thread_id"] in after:
                    yield f"event: {notice['type']}\ndata: {json.dumps(notice)}\n\n"
            await asyncio.sleep(0.02)
            idle += 0.02
            if idle > HEARTBEAT_SECONDS:
                idle = 0
                yield ": still here\n\n"


def stream(events: AsyncIterator[str]) -> Response:
    return StreamingResponse(events, media_type="text/event-stream", headers={"Cache-Control": "no-store"})


def refuse(status: int, detail: str, **fields: Any) -> Response:
    problem = {"title": "Problem", "status": status, "detail": detail, "retryable": status >= 500} | fields
    return JSONResponse(problem, status, media_type="application/problem+json")


def waiting_before(thread: Thread, turn: dict[str, Any]) -> int:
    """How many turns of the thread come before this one."""
    earlier = thread.turns[: thread.turns.index(turn)]
    return sum(other["state"] in ("queued", "running") for other in earlier)


# What turns do.


async def echo(_: StubGateway, thread: Thread, turn: dict[str, Any]) -> None:
    thread.say(turn, f"{turn['id']}-0", "assistant", f"You said: {turn['content']}")


async def hold(gateway: StubGateway, thread: Thread, turn: dict[str, Any]) -> None:
    """Say half, and wait until it is stopped."""
    thread.stream(turn, f"{turn['id']}-0", ["half of ", "an answer"])
    await gateway.halts[turn["id"]].wait()
    thread.say(turn, f"{turn['id']}-0", "assistant", "half of an answer", state="partial")


async def fail(_: StubGateway, thread: Thread, turn: dict[str, Any]) -> None:
    """Fail at the first attempt."""
    if turn["attempt"] > 1:
        thread.say(turn, f"{turn['id']}-0", "assistant", "The second time it works.")
        return
    turn["state"] = "failed"
    turn["error"] = {"kind": "model", "message": "the provider refused", "retryable": True, "fault": "provider"}


async def crash(_: StubGateway, thread: Thread, turn: dict[str, Any]) -> None:
    """Lose a worker in the middle of a reply; the next one says something else."""
    thread.stream(turn, f"{turn['id']}-0", ["lost words"])
    await asyncio.sleep(0.3)
    turn["attempt"] += 1
    thread.tell("turn.started", turn, attempt=2, agent="stub")
    thread.stream(turn, f"{turn['id']}-0", ["kept ", "words"])
    thread.tell("message.restarted", turn, message_id=f"{turn['id']}-0")
    thread.stream(turn, f"{turn['id']}-0", ["better ", "words"])
    await asyncio.sleep(0.3)
    thread.say(turn, f"{turn['id']}-0", "assistant", "better words")


async def ask(gateway: StubGateway, thread: Thread, turn: dict[str, Any]) -> None:
    """Ask something, of choices or of any number, and say the answer."""
    choices = ["red", "blue"] if "colour" in turn["content"] else None
    schema = None if choices else {"type": "integer"}
    question = {"kind": "question", "name": "ask_user", "question": "Which one?", "choices": choices, "schema": schema}
    turn["call"] = {"turn_id": turn["id"], "call_id": "c1", "arguments": {}, "digest": "", **question}
    turn["state"] = "waiting"
    gateway.notice("turn.waiting", thread, turn, calls=[turn["call"]])
    await gateway.halts[turn["id"]].wait()
    turn["state"] = "running"
    thread.tell("turn.started", turn, attempt=2, agent="stub")
    thread.say(turn, f"{turn['id']}-0", "assistant", f"You chose {turn['call']['value']!r}")


async def call_team(gateway: StubGateway, thread: Thread, turn: dict[str, Any]) -> None:
    """Have another agent work until it is stopped."""
    steps = [
        {"index": 1, "parent": 0, "agent": EVIL, "kind": "model", "name": "m", "state": "finished"},
        {"index": 2, "parent": 0, "agent": "scout", "kind": "tool", "name": "search", "state": "started"},
    ]
    gateway.notice("turn.agents", thread, turn, steps=steps)
    await gateway.halts[turn["id"]].wait()
    turn["is_cancelled"] = False
    thread.say(turn, f"{turn['id']}-0", "assistant", "The team is done.")


#: A name as nobody should give an agent.
EVIL = '<img src=x onerror="window.wasRun = 1">'
BEHAVIOURS = {"hold": hold, "fail": fail, "crash": crash, "ask": ask, "team": call_team}
