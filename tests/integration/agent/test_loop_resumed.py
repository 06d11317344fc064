"""Runs that are broken off, wherever that can be, and what the next attempt makes of the journal."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from agent.agent import Agent
from agent.events import Event
from agent.models.protocol import ModelReply, ModelRequest, StreamRestarted, TextDelta
from agent.tools.run_context import RunContext
from agent.tools.tool import tool
from conversation.errors import LeaseLost, ModelError
from conversation.message import Usage
from conversation.replay import replay_transcript
from conversation.step import Step
from conversation.turn import Completed, RetryLater, TurnError
from tests.integration.scripted import Memory, Scripted, assert_well_formed, call, completed, results, run_of, says

#: What the story's tools do: text → id of the call.
EFFECTS = {"one": "1", "two": "2", "three": "3", "four": "4"}


# Resuming


def counted(done: list[str], *, idempotent: bool = False, name: str = "effect") -> Any:
    @tool(name=name, idempotent=idempotent)
    async def effect(text: str, context: RunContext) -> str:
        done.append(f"{text} begins {context.call_id}")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        done.append(f"{text} ends {context.call_id}")
        return f"did {text}"

    return effect


async def test_what_the_journal_has_is_neither_asked_nor_done_again() -> None:
    done: list[str] = []
    agent = Agent(name="a", tools=[counted(done)])
    calls = [call("effect", "1", text="one"), call("effect", "2", text="two")]
    journal = Memory()
    first = Scripted(says("I do", *calls), ModelError("away", "away", retryable=True))
    assert isinstance(await run_of(agent, first, journal).run(), RetryLater)
    second = Scripted(says("never asked"), says("done"))

    ending = await completed(run_of(agent, second, journal))

    assert [m.content for m in ending.messages] == ["I do", '"did one"', '"did two"', "done"]
    assert len(done) == 4
    assert len(second.requests) == 1
    assert second.requests[0] == first.requests[1]
    # The price of all attempts, each call once.
    assert (ending.usage, ending.cost) == (Usage(20, 10), 1.0)
    assert sorted(journal.steps) == [0, 1, 2]
    assert [step.index for step in ending.steps] == [3]


async def journal_with_calls_left(agent: Agent, model: Scripted, *, state: Any) -> Memory:
    """The journal of a run whose tool calls were all left in this state, without a result."""
    journal = Memory()
    await completed(run_of(agent, model, journal))
    journal.steps = {
        index: replace(step, state=state, result=None) if step.kind == "tool" else step
        for index, step in journal.steps.items()
    }
    return journal


async def test_a_call_that_had_begun_is_unknown_unless_it_may_be_repeated() -> None:
    done: list[str] = []
    tools = [counted(done), counted(done, idempotent=True, name="again")]
    agent = Agent(name="a", tools=tools)
    calls = [call("effect", "1", text="one"), call("again", "2", text="two")]
    model = Scripted(says("I do", *calls), says("done"))
    journal = await journal_with_calls_left(agent, model, state="started")

    ending = await completed(run_of(agent, model, journal))

    assert json.loads(results(ending)["1"])["error"]["type"] == "Unknown"
    assert results(ending)["2"] == '"did two"'
    assert done.count("one begins 1") == 1
    assert done.count("two begins 2") == 2
    # What was unknown once stays so: the model may have acted on it.
    assert (journal.steps[1].state, journal.steps[2].state) == ("unknown", "finished")


async def test_a_call_that_the_end_of_its_turn_closed_is_unknown_when_the_turn_is_asked_for_again() -> None:
    """Such a step is final and has no result: an empty one would read as if it had worked."""
    done: list[str] = []
    agent = Agent(name="a", tools=[counted(done), counted(done, idempotent=True, name="again")])
    calls = [call("effect", "1", text="one"), call("again", "2", text="two")]
    model = Scripted(says("I do", *calls), says("done"))
    journal = await journal_with_calls_left(agent, model, state="unknown")

    ending = await completed(run_of(agent, model, journal))

    assert json.loads(results(ending)["1"])["error"]["type"] == "Unknown"
    assert results(ending)["2"] == '"did two"'
    assert done.count("one begins 1") == 1


# Losing the lease


@tool
async def echo(text: str) -> str:
    """Say it again."""
    return text


async def test_a_lost_lease_stops_the_other_tools_and_ends_the_run() -> None:
    stopped: list[str] = []

    @tool
    async def wait() -> str:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            stopped.append("wait")
            raise
        return "late"

    def lose(steps: Sequence[Step]) -> None:
        if any(step.kind == "tool" and step.state == "finished" for step in steps):
            raise LeaseLost("taken over")

    calls = (call("wait", "1"), call("echo", "2", text="quick"), call("wait", "3"))
    model = Scripted(says("", *calls), says("done"))

    with pytest.raises(LeaseLost):
        await run_of(Agent(name="a", tools=[wait, echo]), model, Memory(before=lose)).run()

    assert stopped == ["wait", "wait"]
    assert len(model.requests) == 1


# Breaking off, everywhere


class Crash(BaseException):
    """The process dies here."""


def story(done: list[str]) -> tuple[Agent, Scripted]:
    """Two rounds of tools, of both kinds, and an answer."""
    agent = Agent(name="a", tools=[counted(done), counted(done, idempotent=True, name="again")])
    model = Scripted(
        says("first", call("effect", "1", text="one"), call("again", "2", text="two")),
        says("second", call("again", "3", text="three"), call("effect", "4", text="four")),
        says("the answer"),
    )
    return agent, model


async def test_a_run_that_is_stopped_at_any_moment_leaves_a_well_formed_history_and_can_be_resumed() -> None:
    """Cancelled after every single step of the event loop, from the first to the last."""
    moments = 0
    while True:
        done: list[str] = []
        agent, model = story(done)
        journal = Memory()
        run = run_of(agent, model, journal)
        task = asyncio.create_task(run.run())
        for _ in range(moments):
            await asyncio.sleep(0)
        if task.done():
            break
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        cancelled = run.end_cancelled()
        assert_well_formed(cancelled.messages)
        assert all(m.content for m in cancelled.messages)
        await resumed_once(agent, model, journal, done)
        moments += 1

    assert moments > 20
    assert isinstance(task.result(), Completed)


@pytest.mark.parametrize("after_write", [False, True], ids=["before the write", "after the write"])
async def test_a_process_that_dies_at_any_write_repeats_nothing_that_was_finished(after_write: bool) -> None:
    for fatal in range(1, 7):
        done: list[str] = []
        agent, model = story(done)
        journal = Memory()
        writes = 0

        def die(steps: Sequence[Step], journal: Memory = journal, fatal: int = fatal) -> None:
            nonlocal writes
            writes += 1
            if writes == fatal:
                if after_write:
                    journal.steps |= {step.index: step for step in steps}
                raise Crash

        journal.before = die
        with pytest.raises((Crash, BaseExceptionGroup)):
            await run_of(agent, model, journal).run()
        journal.before = lambda _: None

        await resumed_once(agent, model, journal, done)


async def resumed_once(agent: Agent, model: Scripted, journal: Memory, done: list[str]) -> None:
    """The next attempt completes; it repeats nothing that was finished, and no effect that cannot be."""
    finished = {s.call_id for s in journal.steps.values() if s.kind == "tool" and s.state == "finished"}
    begun = {call_id: done.count(f"{text} begins {call_id}") for text, call_id in EFFECTS.items()}

    ending = await completed(run_of(agent, model, journal))

    assert ending.messages[-1].content == "the answer"
    assert [m.role for m in ending.messages] == ["assistant", "tool", "tool"] * 2 + ["assistant"]
    for text, call_id in EFFECTS.items():
        times = done.count(f"{text} begins {call_id}")
        if call_id in finished:
            assert times == begun[call_id]
        if call_id in ("1", "4"):
            assert times <= 1
            assert times == 1 or json.loads(results(ending)[call_id])["error"]["type"] == "Unknown"
        else:
            assert results(ending)[call_id] == f'"did {text}"'


# Cancelled, refused


async def test_text_that_was_not_finished_is_kept_and_marked() -> None:
    enough = asyncio.Event()
    seen: list[Event] = []

    def watch(event: Event) -> None:
        seen.append(event)
        if len(seen) == 4:  # the reply has begun, and three words came
            enough.set()

    run = run_of(Agent(name="a"), Scripted(says("one two three four five six")), emit=watch)
    task = asyncio.create_task(run.run())
    await enough.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    (kept,) = run.end_cancelled().messages
    assert kept.state == "partial"
    assert kept.content.startswith("one two three")
    assert not kept.content.endswith("six ")


async def test_text_of_an_attempt_that_the_model_began_anew_is_not_kept() -> None:
    class Restarting(Scripted):
        async def stream(self, request: ModelRequest) -> AsyncIterator[TextDelta | StreamRestarted | ModelReply]:
            yield TextDelta("void ")
            yield StreamRestarted()
            yield TextDelta("begun")
            stop.set()
            await asyncio.sleep(30)

    stop = asyncio.Event()
    run = run_of(Agent(name="a"), Restarting(), emit=lambda _: None)
    task = asyncio.create_task(run.run())
    await stop.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert [m.content for m in run.end_cancelled().messages] == ["begun"]


async def test_a_turn_that_must_not_run_on_keeps_what_its_journal_shows_was_said() -> None:
    agent, model = story([])
    journal = Memory()
    run = run_of(agent, model, journal)
    second_round = asyncio.Event()
    journal.before = lambda steps: second_round.set() if steps[0].index == 3 else None
    task = asyncio.create_task(run.run())
    await second_round.wait()
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])

    transcript = replay_transcript("turn", journal.steps, {"agent": "a"})

    messages = transcript.close()
    assert_well_formed(messages)
    assert [(m.role, m.content) for m in messages] == [(m.role, m.content) for m in run.end_cancelled().messages]
    assert messages[0].content == "first"
    assert transcript.usage == Usage(20, 10)


@pytest.mark.parametrize("ends", ["end_cancelled", "end_failed"])
async def test_a_resumed_run_that_is_stopped_before_it_comes_to_its_place_keeps_what_the_journal_has(ends: str) -> None:
    """Else what its tools did would stand nowhere, and be done again by whoever reads the history."""
    agent, model = story([])
    journal = Memory()
    await completed(run_of(agent, model, journal))

    run = run_of(agent, Scripted(), journal)
    ending = run.end_cancelled() if ends == "end_cancelled" else run.end_failed(TurnError("deadline", "over"))

    said = replay_transcript("turn", journal.steps, {"agent": "a"})
    assert [(m.id, m.content) for m in ending.messages] == [(m.id, m.content) for m in said.close()]
    assert len(ending.messages) > 2
    assert (ending.usage, ending.cost) == (said.usage, said.cost)
