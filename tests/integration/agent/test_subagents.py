"""Agents that call agents as tools in one turn: what they say and spend, and runs that break off in their middle."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest

from agent.agent import Agent
from agent.events import AgentEvent, Event
from agent.models.protocol import ModelReply, ModelRequest
from agent.tools.agent_tool import hand_over_to
from agent.tools.produced_file import ProducedFile
from agent.tools.run_context import RunContext
from agent.tools.tool import tool
from conversation.errors import InvalidInput, ModelError
from conversation.message import Usage
from conversation.replay import replay_transcript
from conversation.step import Step
from conversation.turn import Completed, RetryLater
from tests.integration.scripted import (
    Memory,
    Scripted,
    assert_well_formed,
    call,
    completed,
    failed,
    results,
    run_of,
    says,
)


def specialist(name: str, *answers: Any, **options: Any) -> Agent:
    return Agent(name=name, purpose=f"You are {name}.", model=Scripted(*answers), **options)


def error_of(content: str) -> str:
    return str(json.loads(content)["error"]["type"])


# What is said


async def test_an_agent_answers_the_task_alone_and_its_answer_is_the_result() -> None:
    weather = specialist("weather", says("rain"))
    boss = Agent(name="boss", purpose="You plan.", tools=[weather.as_tool(description="Knows the weather.")])
    model = Scripted(says("", call("weather", "1", request="in Rome?")), says("take an umbrella"))
    journal = Memory()

    ending = await completed(run_of(boss, model, journal, context=("the user is 12",)))

    assert [m.content for m in ending.messages] == ["", '"rain"', "take an umbrella"]
    (asked,) = weather.model.requests  # type: ignore[union-attr]
    assert [(m["role"], m["content"]) for m in asked.messages] == [("system", "You are weather."), ("user", "in Rome?")]
    declared = model.requests[0].tools[0]["function"]
    assert (declared["name"], declared["description"]) == ("weather", "Knows the weather.")
    assert list(declared["parameters"]["properties"]) == ["request"]
    # Its call is paid by the turn, and stands in its journal under the tool call.
    assert (ending.usage, ending.cost) == (Usage(30, 15), 1.5)
    nested = [step for step in journal.steps.values() if step.parent is not None]
    assert [(s.kind, s.parent, s.agent, s.state) for s in nested] == [("model", 1, "weather", "finished")]


async def test_the_tools_of_an_agent_have_the_turn_and_keys_of_their_own_and_files_come_back_with_the_answer() -> None:
    contexts: list[RunContext] = []

    @tool
    async def draw(context: RunContext) -> ProducedFile:
        contexts.append(context)
        return ProducedFile(filename="a.txt", content=b"a", media_type="text/plain")

    class Files:
        async def store_all(self, tenant: str, files: Sequence[Any]) -> Sequence[Any]:
            return files

        async def build_parts(self, *view: Any) -> dict[str, Any]:
            return {}

    painter = specialist("painter", says("", call("draw", "x"), call("draw", "y")), says("painted"), tools=[draw])
    boss = Agent(name="boss", tools=[painter.as_tool()])
    model = Scripted(says("", call("painter", "1", request="paint")), says("done"))
    run = run_of(boss, model, user="ann", metadata={"k": 1}, attachments=Files())

    ending = await completed(run)

    assert [(c.user, c.turn_id, c.metadata, c.deadline) for c in contexts] == [
        ("ann", "turn", {"k": 1}, contexts[0].deadline)
    ] * 2
    assert contexts[0].deadline is not None
    assert len({c.idempotency_key for c in contexts}) == 2
    assert [file.filename for file in ending.messages[1].attachments] == ["a.txt"]


async def test_events_say_whose_they_are() -> None:
    inner = specialist("inner", says("deep"))
    outer = specialist("outer", says("", call("inner", "i", request="go")), says("mid"), tools=[inner.as_tool()])
    boss = Agent(name="boss", tools=[outer.as_tool()])
    model = Scripted(says("", call("outer", "o", request="go")), says("top"))
    seen: list[Event] = []

    await completed(run_of(boss, model, emit=seen.append))

    nested = [event for event in seen if isinstance(event, AgentEvent)]
    assert {(event.agent, event.path) for event in nested} == {("outer", (1,)), ("inner", (1, 3))}
    kinds = {type(event.event).__name__ for event in nested}
    assert kinds == {"ReplyBegun", "TextDelta", "MessageAdded", "ToolStarted", "ToolFinished"}


# What is in the way


async def test_an_agent_that_comes_to_no_answer_is_a_result_for_its_caller() -> None:
    @tool
    async def idle() -> str:
        await asyncio.sleep(30)
        return ""

    refusing = specialist("refusing", ModelError("content_filter", "no", retryable=False))
    looping = specialist("looping", says("", call("nothing", "n")), max_steps=2)
    slow = specialist("slow", says("", call("idle", "i")), tools=[idle], max_turn_seconds=0.05)
    agents = [refusing, looping, slow]
    boss = Agent(name="boss", tools=[agent.as_tool() for agent in agents])
    calls = [call(agent.name, agent.name, request="go") for agent in agents]
    model = Scripted(says("", *calls, call("looping", "wrong", task="go")), says("sorry"))

    ending = await completed(run_of(boss, model))

    contents = results(ending)
    assert [error_of(contents[agent.name]) for agent in agents] == ["AgentFailed"] * 3
    words = ("content_filter", "step_limit", "time_limit")
    assert all(word in contents[agent.name] for word, agent in zip(words, agents, strict=True))
    assert error_of(contents["wrong"]) == "InvalidArguments"


async def test_a_model_that_is_away_has_the_whole_turn_wait_and_nothing_is_asked_twice() -> None:
    answers: list[Any] = [ModelError("away", "away", retryable=True)]
    away = specialist("away", says("", call("note", "n")), lambda request: _raise_or(answers, request), tools=[_note()])
    steady = specialist("steady", says("here"))
    boss = Agent(name="boss", tools=[away.as_tool(), steady.as_tool()])
    calls = (call("away", "1", request="go"), call("steady", "2", request="go"))
    model = Scripted(says("", *calls), says("done"))
    journal = Memory()

    ending = await run_of(boss, model, journal).run()
    assert isinstance(ending, RetryLater)
    answers[:] = [says("back")]
    final = await completed(run_of(boss, model, journal))

    assert results(final) == {"1": '"back"', "2": '"here"'}
    assert (final.usage.prompt_tokens, final.cost) == (50, 2.5)


def _raise_or(answers: list[Any], _: ModelRequest) -> ModelReply:
    if isinstance(answers[0], ModelError):
        raise answers[0]
    reply: ModelReply = answers[0]
    return reply


def _note() -> Any:
    @tool(name="note")
    async def note() -> str:
        return "noted"

    return note


async def test_the_tokens_of_the_turn_are_spent_by_its_agents_too() -> None:
    eager = specialist("eager", says("", call("note", "n")), tools=[_note()])
    boss = Agent(name="boss", tools=[eager.as_tool()], max_turn_tokens=40)

    ending = await failed(run_of(boss, Scripted(says("", call("eager", "1", request="go")))))

    assert ending.error.kind == "token_limit"
    # One call of its own, two of the agent's: the third would have been above the limit.
    assert ending.usage.total_tokens == 45


async def test_depth_and_number_of_calls_are_bounded_and_no_agent_can_call_itself() -> None:
    agent = specialist("d3", says("deep"))
    for depth in (2, 1, 0):
        asks = says("", call(agent.name, "c", request="go"))
        agent = specialist(f"d{depth}", asks, says(f"back from {depth}"), tools=[agent.as_tool()], max_depth=2)
    journal = Memory()

    await completed(run_of(agent, agent.model, journal))  # type: ignore[arg-type]

    refused = [s for s in journal.steps.values() if s.state == "failed"]
    assert [error_of((s.result or {})["content"]) for s in refused] == ["TooDeep"]

    helper = specialist("helper", says("done"))
    boss = Agent(name="boss", tools=[helper.as_tool()], max_children=2)
    calls = [call("helper", str(n), request="go") for n in range(4)]
    ending = await completed(run_of(boss, Scripted(says("", *calls), says("done"))))
    assert [error_of(c) if "error" in c else c for c in results(ending).values()] == ['"done"'] * 2 + ["TooMany"] * 2

    with pytest.raises(InvalidInput, match=r"tool\.name"):
        helper.as_tool(name="two words")


def test_an_agents_version_changes_with_the_agents_that_it_calls() -> None:
    one, other = Agent(name="helper", purpose="one"), Agent(name="helper", purpose="other")
    bosses = [Agent(name="boss", tools=[agent.as_tool()]) for agent in (one, other)]

    assert bosses[0].version != bosses[1].version
    assert bosses[0].subagents == (one,)


# Handing over


async def test_a_thread_is_handed_over_by_the_agent_that_answers_in_it_alone() -> None:
    nested = specialist("nested", says("", call("hand_over_to_sales", "n")), says("no"), tools=[hand_over_to("sales")])
    tools = [nested.as_tool(), hand_over_to(nested), hand_over_to("billing", name="to_billing", description="Money.")]
    boss = Agent(name="boss", tools=tools)
    calls = (call("nested", "0", request="go"), call("to_billing", "1"))
    journal = Memory()
    model = Scripted(says("", *calls), says("bye"))

    ending = await completed(run_of(boss, model, journal))

    assert ending.hands_over_to == "billing"
    assert json.loads(results(ending)["1"])["handed_over_to"] == "billing"
    # Also where the turn is ended out of its journal alone.
    assert replay_transcript("turn", journal.steps, {}).hands_over_to == "billing"
    assert (await completed(run_of(boss, model, journal))).hands_over_to == "billing"
    with pytest.raises(InvalidInput, match="agent"):
        hand_over_to("no agent's name")


# Breaking off, everywhere


class Crash(BaseException):
    """The process dies here."""


def story(effects: list[str]) -> tuple[Agent, Scripted]:
    """Two agents side by side, one of which asks a third; all have tools."""

    def effect(name: str) -> Any:
        @tool(name=name)
        async def act(text: str, context: RunContext) -> str:
            effects.append(f"{name} {text} {context.idempotency_key}")
            await asyncio.sleep(0)
            return f"did {text}"

        return act

    third = specialist("third", says("", call("c", "t", text="three")), says("third says"), tools=[effect("c")])
    first = specialist(
        "first",
        says("", call("a", "x", text="one"), call("third", "y", request="help")),
        says("", call("a", "x", text="again")),
        says("first says"),
        tools=[effect("a"), third.as_tool()],
    )
    second = specialist("second", says("", call("b", "x", text="two")), says("second says"), tools=[effect("b")])
    boss = Agent(name="boss", tools=[first.as_tool(), second.as_tool(), effect("d")])
    model = Scripted(
        says("", call("first", "1", request="go"), call("second", "2", request="go"), call("d", "3", text="four")),
        says("", call("second", "4", request="once more")),
        says("the answer"),
    )
    return boss, model


async def whole_story() -> tuple[Usage, int]:
    """What the story costs without a break, and how often it writes."""
    boss, model = story([])
    writes: list[int] = []
    ending = await completed(run_of(boss, model, Memory(before=lambda steps: writes.append(len(steps)))))
    return ending.usage, len(writes)


async def resumed(boss: Agent, model: Scripted, journal: Memory, effects: list[str]) -> Completed:
    """The next attempt completes; it does again nothing that was finished, and no effect that cannot be."""
    ending = await completed(run_of(boss, model, journal))

    assert ending.messages[-1].content == "the answer"
    assert [m.role for m in ending.messages] == ["assistant", "tool", "tool", "tool", "assistant", "tool", "assistant"]
    assert results(ending)["1"] == '"first says"'
    assert results(ending)["2"] == results(ending)["4"] == '"second says"'
    # No effect twice, whatever was lost.
    assert len(effects) == len(set(effects))
    for step in journal.steps.values():
        if step.parent is not None:
            assert journal.steps[step.parent].kind == "tool"
            assert step.agent == journal.steps[step.parent].name
    return ending


@pytest.mark.parametrize("after_write", [False, True], ids=["before the write", "after the write"])
async def test_a_process_that_dies_at_any_write_goes_on_in_the_middle_of_every_agent(after_write: bool) -> None:
    usage, write_count = await whole_story()
    assert write_count > 15
    for fatal in range(1, write_count + 1):
        effects: list[str] = []
        boss, model = story(effects)
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
            await run_of(boss, model, journal).run()
        journal.before = lambda _: None

        # Each call that came to a reply in the journal is paid once, those that were lost are not known of.
        assert (await resumed(boss, model, journal, effects)).usage == usage


async def test_a_turn_that_is_cancelled_at_any_moment_is_well_formed_and_can_be_resumed() -> None:
    moments = 0
    while True:
        effects: list[str] = []
        boss, model = story(effects)
        journal = Memory()
        run = run_of(boss, model, journal)
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
        # What was being asked when it was stopped is charged, and journalled as its agent's.
        journal.steps |= {step.index: step for step in cancelled.steps}
        spent = [step for step in journal.steps.values() if step.kind == "model"]
        journalled = sum((step.usage for step in spent if step.usage), Usage())
        # A reply that had come, and was not written yet, is paid as well.
        assert journalled.total_tokens <= cancelled.usage.total_tokens <= journalled.total_tokens + 2 * 15
        await resumed(boss, model, journal, effects)
        moments += 3

    assert moments > 60
