"""The stores that one would take instead, each in a process of its own, in the baselines' environment.

    .venv/bench/bin/python benchmarks/baselines.py narrator postgresql://…

It reads commands from its input, one a line, and answers each with a line of JSON: `stock THREAD LENGTH`
stores a thread of so many messages, `turn THREAD` does one turn on it and tells its seconds. A turn is
what the library's own guide has an application do: load the conversation, answer without a model that
takes time, store the question and the answer. Nothing of ours is imported here.
"""

import asyncio
import json
import logging
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol


class Store(Protocol):
    """One of the stores."""

    async def stock(self, thread: str, length: int) -> None: ...

    async def turn(self, thread: str) -> None: ...


class Narrator:
    """`slide-narrator`: load the thread, add two messages, save the thread."""

    @classmethod
    async def open(cls, url: str) -> "Narrator":
        from narrator import ThreadStore

        store = cls()
        store.threads = await ThreadStore.create(url.replace("postgresql://", "postgresql+asyncpg://"))
        return store

    threads: Any

    async def stock(self, thread: str, length: int) -> None:
        from narrator import Thread

        fresh = Thread(id=thread)
        for number in range(length):
            fresh.add_message(_message(number))
        await self.threads.save(fresh)

    async def turn(self, thread: str) -> None:
        from narrator import Message

        loaded = await self.threads.get(thread)
        loaded.add_message(Message(role="user", content="hello"))
        loaded.add_message(Message(role="assistant", content="hello"))
        await self.threads.save(loaded)


class LangGraph:
    """LangGraph's `PostgresSaver` under a graph of one node, which answers."""

    def __init__(self, url: str) -> None:
        import psycopg
        from langchain_core.messages import AIMessage
        from langgraph.checkpoint.postgres import PostgresSaver
        from langgraph.graph import START, MessagesState, StateGraph
        from psycopg.rows import dict_row

        # As the guide has it for a connection of one's own.
        connection = psycopg.connect(url, autocommit=True, prepare_threshold=0, row_factory=dict_row)
        saver = PostgresSaver(connection)
        saver.setup()
        graph = StateGraph(MessagesState)
        graph.add_node("answer", lambda _: {"messages": [AIMessage("hello")]})
        graph.add_edge(START, "answer")
        self.graph = graph.compile(checkpointer=saver)

    async def stock(self, thread: str, length: int) -> None:
        from langchain_core.messages import AIMessage, HumanMessage

        kinds = (HumanMessage, AIMessage)
        values = {"messages": [kinds[number % 2](_text(number)) for number in range(length)]}
        self.graph.update_state({"configurable": {"thread_id": thread}}, values, as_node="answer")

    async def turn(self, thread: str) -> None:
        from langchain_core.messages import HumanMessage

        config = {"configurable": {"thread_id": thread}}
        self.graph.invoke({"messages": [HumanMessage("hello")]}, config)


class AgentsSdk:
    """The OpenAI Agents SDK's `SQLAlchemySession`: what its runner asks of a session in one run."""

    def __init__(self, url: str) -> None:
        from sqlalchemy.ext.asyncio import create_async_engine

        self.engine = create_async_engine(url.replace("postgresql://", "postgresql+asyncpg://"))
        self.sessions: dict[str, Any] = {}

    async def stock(self, thread: str, length: int) -> None:
        from agents.extensions.memory import SQLAlchemySession

        self.sessions[thread] = session = SQLAlchemySession(thread, engine=self.engine, create_tables=True)
        roles = ("user", "assistant")
        await session.add_items([{"role": roles[number % 2], "content": _text(number)} for number in range(length)])

    async def turn(self, thread: str) -> None:
        session = self.sessions[thread]
        await session.get_items()
        await session.add_items([{"role": "user", "content": "hello"}])
        await session.add_items([{"role": "assistant", "content": "hello"}])


async def _open_langgraph(url: str) -> LangGraph:
    return LangGraph(url)


async def _open_agents(url: str) -> AgentsSdk:
    return AgentsSdk(url)


OPEN: dict[str, Callable[[str], Awaitable[Store]]] = {
    "narrator": Narrator.open,
    "langgraph": _open_langgraph,
    "agents": _open_agents,
}


def _text(number: int) -> str:
    """A text of 200 characters."""
    return f"message {number}".ljust(200, ".")


def _message(number: int) -> Any:
    from narrator import Message

    return Message(role=("user", "assistant")[number % 2], content=_text(number))


async def serve(name: str, url: str) -> None:
    """Do what the input says, until it ends."""
    store = await OPEN[name](url)
    for line in sys.stdin:
        command, thread, *rest = line.split()
        if command == "stock":
            await store.stock(thread, int(rest[0]))
            answer = {}
        else:
            started = time.perf_counter()
            await store.turn(thread)
            answer = {"seconds": time.perf_counter() - started}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    asyncio.run(serve(*sys.argv[1:]))
