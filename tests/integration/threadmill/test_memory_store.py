"""Agents that were given no store: their threads live in this process's memory."""

import gc
from weakref import ref

from conversation.message import Message
from conversation.thread import Thread
from threadmill import Agent


def said(thread: Thread, text: str) -> Thread:
    thread.add_message(Message(role="user", content=text))
    return thread


async def test_an_agent_goes_on_with_a_thread_whose_first_agent_is_gone() -> None:
    thread = Thread()
    await Agent(name="a").go(said(thread, "The key is under the mat."))
    gc.collect()

    result = await Agent(name="b").go(said(thread, "Where is the key?"))

    assert 'From message 1: "The key is under the mat."' in result.content
    assert [message.seq for message in thread.messages] == [1, 2, 3, 4]


async def test_memory_is_let_go_with_the_agent_and_its_threads() -> None:
    agent, thread = Agent(name="a"), Thread()
    await agent.go(said(thread, "hello"))
    stores = ref(agent._memory_store)

    del agent, thread
    gc.collect()

    assert stores() is None
