"""What tests of library calls share: a model that can be held, and a worker as the store sees it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import select

from agent.models.protocol import ModelReply, ModelRequest, StreamRestarted, TextDelta
from conversation.ids import new_id
from conversation.turn import ClaimedTurn, Completed, RefusedTurn
from store import tables
from store.settings import load
from store.turns import claims, inbox, workers
from store.turns import settle as turns
from store.turns.claims import ClaimRequest
from store.turns.send_request import SendRequest
from threadmill import Message, ThreadStore, ToolCall

#: A killed caller is missed after this.
LEASE_DURATION_SECONDS = 1.5

Answer = Callable[[ModelRequest], ModelReply]


def user(text: str) -> Message:
    return Message(role="user", content=text)


def echo(request: ModelRequest) -> ModelReply:
    return ModelReply(content=f"answer to {request.messages[-1]['content']}", model="fake")


def calls_look(request: ModelRequest) -> ModelReply:
    """The tool first, then an answer."""
    if request.messages[-1]["role"] == "user":
        return ModelReply(tool_calls=(ToolCall("c1", "look", "{}"),), model="fake")
    return ModelReply(content=f"I have {request.messages[-1]['content']}", model="fake")


def look() -> str:
    """Look."""
    return "seen"


class FakeModel:
    """Answers by a function; from the `hangs_at`-th request on it waits until it is let go."""

    def __init__(self, answer: Answer = echo, *, hangs_at: int | None = None) -> None:
        self.answer = answer
        self.hangs_at = hangs_at
        self.requests: list[ModelRequest] = []
        self.asked = asyncio.Event()
        self.let_go = asyncio.Event()
        self.cancelled = False

    async def complete(self, request: ModelRequest) -> ModelReply:
        self.requests.append(request)
        if self.hangs_at is not None and len(self.requests) >= self.hangs_at:
            self.asked.set()
            try:
                await self.let_go.wait()
            except asyncio.CancelledError:
                self.cancelled = True
                raise
        return self.answer(request)

    async def stream(self, request: ModelRequest) -> AsyncIterator[TextDelta | StreamRestarted | ModelReply]:
        reply = await self.complete(request)
        for word in reply.content.split(" "):
            yield TextDelta(word + " ")
        yield reply


class Worker:
    """A worker of the installation, as the store sees it."""

    def __init__(self, store: ThreadStore) -> None:
        self.run = store.database.run_async
        self.claimant = ClaimRequest(worker=new_id(), agents={"caller": "1"})

    async def begins(self) -> None:
        register = partial(
            workers.register, worker=self.claimant.worker, host="h", pid=1, serves={}, lease_duration_seconds=600
        )
        await self.run(register)

    async def is_sent(self, thread_id: str, text: str) -> None:
        request = SendRequest(
            turn_id=new_id(),
            tenant="default",
            thread_id=thread_id,
            message=user(text),
            agent="caller",
            allow_unknown_agent=True,
        )
        await self.run(inbox.accept, request=request)

    async def claims(self, thread_id: str) -> Any:
        return await self.run(claims.claim, tenant="default", thread_id=thread_id, claimant=self.claimant)

    async def answers(self, claimed: ClaimedTurn, text: str) -> turns.SettleOutcome:
        ending = Completed(messages=(Message(role="assistant", content=text),))
        return await self.settles(claimed, ending)

    async def settles(self, claimed: ClaimedTurn | RefusedTurn, ending: Any) -> turns.SettleOutcome:
        return await self.run(turns.settle, lease=claimed.lease, turn_id=claimed.id, ending=ending, release=False)


async def opened(url: str, folder: Path) -> ThreadStore:
    settings = load(
        database_url=url,
        file_store_url=str(folder / "files"),
        lease_duration_seconds=LEASE_DURATION_SECONDS,
        heartbeat_interval_seconds=0.3,
    )
    return await ThreadStore.create(settings=settings)


async def said(store: ThreadStore, thread_id: str = "t") -> list[str]:
    return [message.content for message in (await store.get_thread(thread_id)).messages]


async def states(store: ThreadStore) -> list[tuple[str, str | None]]:
    statement = select(tables.turns.c.state, tables.turns.c.error_kind).order_by(tables.turns.c.arrival_seq)
    return await store.database.run_async(lambda c: [tuple(row) for row in c.execute(statement)])
