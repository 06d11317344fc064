"""A gateway of streams alone, over a hub that says what its test lets it say."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import uvicorn
from fastapi import FastAPI

from conversation.events import MessageDelta, ThreadEvent
from producers.http.app import create_gateway
from producers.http.principal import Principal
from producers.producer import Producer

THREAD, TURN = "thread-1", "00000000-0000-7000-8000-000000000001"


def delta(number: int, text: str = "x") -> MessageDelta:
    return MessageDelta(thread_id=THREAD, turn_id=TURN, number=number, message_id="m", text=text)


@dataclass
class ScriptedHub:
    """A hub whose events a test adds, from any thread."""

    events: list[ThreadEvent] = field(default_factory=list)
    is_over: bool = False
    #: Whoever follows, by what they have seen before.
    followers: list[int | str | None] = field(default_factory=list)
    asked: list[Any] = field(default_factory=list)
    #: Events that were taken, by all who follow.
    shown: int = 0

    async def follow_thread(self, tenant: str, thread_id: str, *, after: int) -> AsyncIterator[ThreadEvent]:
        async for event in self._follow(after):
            yield event

    async def follow_turn(self, source: Any, *, after: int) -> AsyncIterator[ThreadEvent]:
        async for event in self._follow(after):
            yield event

    async def follow_user(
        self, tenant: str, user: str, *, cursor: str | None
    ) -> AsyncIterator[tuple[str, ThreadEvent]]:
        self.asked.append((tenant, user, cursor))
        async for event in self._follow(int(cursor.removeprefix("u"), 16) if cursor else 0):
            yield f"u{event.number or 0:x}", event

    async def _follow(self, after: int) -> AsyncIterator[ThreadEvent]:
        self.asked.append(after)
        self.followers.append(after)
        index = 0
        try:
            while True:
                while index < len(self.events):
                    event = self.events[index]
                    index += 1
                    if event.number is None or event.number > after:
                        self.shown += 1
                        yield event
                if self.is_over:
                    return
                await asyncio.sleep(0.005)
        finally:
            self.followers.remove(after)


class OneKey:
    """An authenticator of one key, with what the test says of its bearer."""

    def __init__(self, principal: Principal) -> None:
        self.principal = principal

    async def authenticate(self, headers: Mapping[str, str], query: Mapping[str, str]) -> Principal | None:
        return self.principal if "secret" in {headers.get("authorization"), query.get("token")} else None


ADA = Principal(tenant="default", user="ada", scopes=frozenset({"read"}), credential="key-1")


def make_app(producer: Producer, hub: Any, principal: Principal = ADA, **settings: Any) -> FastAPI:
    """A gateway whose events a test says."""
    app = create_gateway(
        producer.settings.model_copy(update=settings), producer=producer, authenticator=OneKey(principal)
    )
    app.state.gateway = replace(app.state.gateway, hub=hub)
    return app


@contextmanager
def serve(app: Any) -> Iterator[str]:
    """A real server of an app, in a thread; gives its address."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=5))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        if isinstance(app, FastAPI):
            # No signal comes to a thread.
            app.state.gateway.streams.hear_stop()
        thread.join()
