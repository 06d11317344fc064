"""A program that uses the library: started by tests as a process of its own, sometimes to be killed.

python library_caller.py hang  URL THREAD   asks, runs one tool, and then waits for its model for ever
python library_caller.py go    URL THREAD N  asks N times, one after the other
python library_caller.py write URL THREAD N  saves N copies of the thread at once, a message each
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Any

from agent.models.protocol import ModelReply, ModelRequest, StreamRestarted, TextDelta
from threadmill import Agent, Message, ThreadStore, ToolCall


class Echo:
    """Answers with what it was asked."""

    async def complete(self, request: ModelRequest) -> ModelReply:
        return ModelReply(content=f"answer to {request.messages[-1]['content']}", model="echo")

    async def stream(self, request: ModelRequest) -> AsyncIterator[TextDelta | StreamRestarted | ModelReply]:
        yield await self.complete(request)


class Hanging(Echo):
    """Calls a tool, and after that never answers."""

    async def complete(self, request: ModelRequest) -> ModelReply:
        if request.messages[-1]["role"] == "user":
            return ModelReply(tool_calls=(ToolCall("c1", "look", "{}"),), model="echo")
        sys.stdout.write("hanging\n")
        sys.stdout.flush()
        await asyncio.Event().wait()
        raise AssertionError("unreachable")


def look() -> str:
    """Look."""
    return "seen"


async def hang(store: ThreadStore, thread_id: str) -> None:
    agent = Agent(name="caller", model=Hanging(), tools=[look], thread_store=store)
    await ask(agent, store, thread_id, "question of the dead")


async def go(store: ThreadStore, thread_id: str, count: str) -> None:
    agent = Agent(name="caller", model=Echo(), thread_store=store)
    for number in range(int(count)):
        await ask(agent, store, thread_id, f"{sys.argv[-1]}-{number}")


async def ask(agent: Agent, store: ThreadStore, thread_id: str, text: str) -> None:
    thread = await store.get_or_create_thread(thread_id)
    thread.add_message(Message(role="user", content=text))
    await agent.go(thread)


async def write(store: ThreadStore, thread_id: str, count: str) -> None:
    copies: list[Any] = [await store.get_or_create_thread(thread_id) for _ in range(int(count))]
    for number, copy in enumerate(copies):
        copy.add_message(Message(role="user", content=f"{sys.argv[-1]}-{number}"))
    await asyncio.gather(*(store.save_thread(copy) for copy in copies))


async def main() -> None:
    verb, url, thread_id, *rest = sys.argv[1:]
    async with await ThreadStore.create(url) as store:
        match verb:
            case "hang":
                await hang(store, thread_id)
            case "go":
                await go(store, thread_id, rest[0])
            case "write":
                await write(store, thread_id, rest[0])


if __name__ == "__main__":
    asyncio.run(main())
