"""Library calls that wait for a person: the call returns, and any process goes on with the turn once it is decided."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from agent.models.protocol import ModelReply, ModelRequest
from conversation.errors import AlreadyDecided, TurnNotFound
from tests.integration.threadmill.library_stage import FakeModel, opened, said, states, user
from threadmill import Agent, Decision, Thread, ThreadStore, ToolCall, TurnFinished, ask_user, tool


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ThreadStore]:
    fixtures = {"memory": None, "sqlite": "sqlite_url", "postgresql": "database_url"}
    fixture = fixtures[request.param]
    url = "sqlite://" if fixture is None else str(request.getfixturevalue(fixture))
    async with await opened(url, tmp_path) as store:
        yield store


def calls(*made: ToolCall) -> Callable[[ModelRequest], ModelReply]:
    def answer(request: ModelRequest) -> ModelReply:
        last = request.messages[-1]
        if last["role"] == "user":
            return ModelReply(tool_calls=made, model="fake")
        return ModelReply(content=f"I have {last['content']}", model="fake")

    return answer


refunds: list[int] = []


@tool(needs_approval=True)
def refund(amount: int) -> int:
    """Pay money back."""
    refunds.append(amount)
    return amount


def make_agent(store: ThreadStore, *made: ToolCall, **options: Any) -> Agent:
    options = {"tools": [refund, ask_user]} | options
    return Agent(name="a", model=FakeModel(calls(*made)), thread_store=store, **options)


async def test_a_call_returns_and_goes_on_once_it_is_decided(store: ThreadStore) -> None:
    refunds.clear()
    agent = make_agent(store, ToolCall("c1", "refund", '{"amount": 1}'), ToolCall("c2", "refund", '{"amount": 2}'))
    result = await agent.go(Thread(id="t", messages=[user("money back")]))
    assert (result.is_waiting, result.content, refunds) == (True, "", [])
    assert [call.call_id for call in result.pending] == ["c1", "c2"]
    assert await states(store) == [("waiting", None)]

    thread = await store.get_thread("t")
    result = await agent.resume(thread, result.turn_id, {"c1": Decision.approve()}, by="ada")
    assert [call.call_id for call in result.pending] == ["c2"]
    assert refunds == []
    # Another process, with an agent of its own; and what was decided stays so.
    agent = make_agent(store)
    with pytest.raises(AlreadyDecided):
        await agent.resume(thread, result.turn_id, {"c1": Decision.deny()}, by="eve")
    result = await agent.resume(thread, result.turn_id, {"c2": Decision.deny("no")}, by="ada")
    assert (refunds, result.is_waiting) == ([1], False)
    assert result.content.startswith("I have ")
    assert [message.role for message in result.new_messages] == ["assistant", "tool", "tool", "assistant"]
    assert await states(store) == [("completed", None)]
    assert (await said(store))[0] == "money back"
    again = await agent.resume(thread, result.turn_id)
    assert (again.content, refunds) == (result.content, [1])
    assert len({message.id for message in thread.messages}) == len(thread.messages)


async def test_the_next_call_waits_until_the_turn_before_it_is_over(store: ThreadStore) -> None:
    agent = make_agent(store, ToolCall("c", "ask_user", '{"question": "Which?", "choices": ["a", "b"]}'))
    thread = Thread(id="t", messages=[user("choose")])
    result = await agent.go(thread)
    assert result.pending[0].question == "Which?"
    result = await agent.resume(thread, result.turn_id, {result.pending[0].call_id: Decision.answer("b")}, by="bob")
    assert result.content == 'I have "b"'


async def test_a_stream_ends_with_what_the_turn_waits_for(store: ThreadStore) -> None:
    agent = make_agent(store, ToolCall("c1", "refund", '{"amount": 1}'))
    events = [event async for event in agent.stream(Thread(id="t", messages=[user("money back")]))]
    assert isinstance(events[-1], TurnFinished)
    assert events[-1].result.state == "waiting"


async def test_an_agent_that_goes_on_answers_at_once(store: ThreadStore) -> None:
    refunds.clear()
    agent = make_agent(store, ToolCall("c1", "refund", '{"amount": 1}'), when_waiting="go_on")
    result = await agent.go(Thread(id="t", messages=[user("money back")]))
    assert (result.is_waiting, refunds) == (False, [])
    assert "NotDecided" in result.content


async def test_a_turn_that_is_not_there_is_said_so(store: ThreadStore) -> None:
    agent = make_agent(store)
    await agent.go(Thread(id="t", messages=[user("x")]))
    with pytest.raises(TurnNotFound):
        await agent.resume(await store.get_thread("t"), "no turn")
