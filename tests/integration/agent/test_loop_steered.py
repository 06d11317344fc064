"""Messages that are told to a turn while it runs: read between its steps, and at the same place in each attempt."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from agent.agent import Agent
from agent.loop import Run
from agent.tools.tool import tool
from conversation.errors import ModelError
from conversation.ids import new_id
from conversation.message import Message
from conversation.step import Step
from conversation.turn import RetryLater
from tests.integration.scripted import Memory, Scripted, assert_well_formed, call, completed, run_of, says


def message(content: str) -> Message:
    told = Message(role="user", content=content)
    told.turn_id = new_id()
    return told


def agent_that_tells(journal: Memory, *contents: str) -> Agent:
    """An agent during whose tool call these messages are sent."""

    @tool
    def look() -> str:
        journal.told += [message(content) for content in contents]
        return "found"

    return Agent(name="a", tools=[look])


def texts(request: Any) -> list[str]:
    return [each["content"] for each in request.messages if each["role"] == "user"]


async def test_the_model_reads_them_with_its_next_call_and_the_answer_stands_behind_them() -> None:
    journal = Memory()
    model = Scripted(says("I look", call("look", "c")), says("done"))

    ending = await completed(run_of(agent_that_tells(journal, "and this", "and that"), model, journal))

    assert texts(model.requests[1])[-2:] == ["and this", "and that"]
    assert [m.content for m in ending.messages] == ["I look", '"found"', "and this", "and that", "done"]
    assert [journal.steps[index].kind for index in sorted(journal.steps)] == ["model", "tool", "input", "input"]
    assert [step.index for step in ending.steps] == [4]
    assert_well_formed(ending.messages)


async def test_a_resumed_turn_asks_with_them_what_the_first_attempt_asked() -> None:
    journal = Memory()
    agent = agent_that_tells(journal, "and this")
    first = Scripted(says("I look", call("look", "c")), ModelError("away", "away", retryable=True))
    assert isinstance(await run_of(agent, first, journal).run(), RetryLater)
    second = Scripted(says("done"))

    ending = await completed(run_of(agent, second, journal))

    assert second.requests[0] == first.requests[1]
    assert [m.content for m in ending.messages] == ["I look", '"found"', "and this", "done"]


async def test_those_that_came_before_its_first_step_are_read_with_its_first_call() -> None:
    journal = Memory(told=[message("and this")])
    model = Scripted(says("done"))
    run = run_of(Agent(name="a"), model, journal)
    steered = Run(run.agent, replace(run.claimed, is_steered=True), run._state.dependencies)

    ending = await completed(steered)

    assert texts(model.requests[0])[-1] == "and this"
    assert [m.content for m in ending.messages] == ["and this", "done"]


async def test_a_message_that_comes_with_the_last_call_is_left_where_it_is() -> None:
    journal = Memory()
    model = Scripted(says("done"))
    journal.told = [message("late")]

    await completed(run_of(Agent(name="a"), model, journal))

    assert [each.content for each in journal.told] == ["late"]


async def test_a_turn_that_is_stopped_while_it_takes_a_message_keeps_it_in_its_end() -> None:
    """The message was taken: it is no turn of its own any more."""
    is_taking, may_end = asyncio.Event(), asyncio.Event()

    class Slow(Memory):
        async def take_messages(self, index: int) -> list[Step]:
            is_taking.set()
            await may_end.wait()
            return await super().take_messages(index)

    journal = Slow()
    run = run_of(agent_that_tells(journal, "and this"), Scripted(says("I look", call("look", "c"))), journal)
    running = asyncio.ensure_future(run.run())
    await is_taking.wait()
    running.cancel()
    await asyncio.sleep(0)
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await running

    assert [m.content for m in run.end_cancelled().messages] == ["I look", '"found"', "and this"]
