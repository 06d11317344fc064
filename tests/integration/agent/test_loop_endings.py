"""How a reply ends decides how the turn ends: cut replies, and what attempts cost that came to none."""

import json
from collections.abc import AsyncIterator

import pytest

from agent.agent import Agent
from agent.models.protocol import ModelReply, ModelRequest, StreamRestarted, TextDelta
from agent.tools.tool import tool
from conversation.errors import ModelError
from conversation.message import ToolCall, Usage
from conversation.turn import HandOver, RetryLater
from tests.integration.scripted import SPENT, Memory, Scripted, call, completed, failed, results, run_of, says

VAIN = Usage(prompt_tokens=100, completion_tokens=7)


def cut(text: str, *calls: ToolCall) -> ModelReply:
    return ModelReply(content=text, tool_calls=calls, model="scripted", finish_reason="length", usage=SPENT, cost=0.5)


async def test_the_text_of_a_reply_that_was_cut_is_kept_and_marked() -> None:
    ending = await completed(run_of(Agent(name="a"), Scripted(cut("Half of"))))

    assert [(message.content, message.state) for message in ending.messages] == [("Half of", "truncated")]


async def test_a_tool_call_of_a_reply_that_was_cut_is_not_run_and_the_model_is_told() -> None:
    runs: list[str] = []

    @tool
    def write(text: str) -> str:
        runs.append(text)
        return "written"

    def answer(request: ModelRequest) -> ModelReply:
        last = request.messages[-1]
        if last["role"] == "user":
            return cut("", call("write", "1", text="whole?"), ToolCall("2", "write", '{"text":"half"}'))
        if "CutAtTokenLimit" in last["content"]:
            return says("", call("write", "3", text="short"))
        return says("done")

    journal = Memory()
    ending = await completed(run_of(Agent(name="a", tools=[write]), Scripted(answer), journal))

    assert runs == ["short"]
    assert [json.loads(results(ending)[key])["error"]["type"] for key in ("1", "2")] == ["CutAtTokenLimit"] * 2
    assert ending.messages[0].state == "truncated"
    # No intent of a call that was never to start.
    assert sorted(journal.steps) == [0, 1, 2]


async def test_a_model_whose_calls_are_cut_again_after_it_was_told_ends_the_turn() -> None:
    @tool
    def write(text: str) -> str:
        raise AssertionError

    model = Scripted(lambda request: cut("", ToolCall(f"c{len(request.messages)}", "write", '{"text":"half"}')))

    ending = await failed(run_of(Agent(name="a", tools=[write]), model))

    assert (ending.error.kind, len(model.requests)) == ("truncated", 2)


async def test_a_run_that_is_resumed_after_a_cut_reply_goes_on_from_there() -> None:
    @tool
    def write(text: str) -> str:
        return "written"

    journal = Memory()
    first = Scripted(cut("", call("write", "1", text="half")), ModelError("unavailable", "away", retryable=True))
    assert isinstance(await run_of(Agent(name="a", tools=[write]), first, journal).run(), RetryLater)

    second = Scripted(says("done"))
    ending = await completed(run_of(Agent(name="a", tools=[write]), second, journal))

    assert "CutAtTokenLimit" in results(ending)["1"]
    assert len(second.requests) == 1
    assert ending.usage == SPENT + SPENT


class Wasteful(Scripted):
    """Counts an attempt that came to nothing with each request."""

    async def stream(self, request: ModelRequest) -> AsyncIterator[TextDelta | StreamRestarted | ModelReply]:
        request.meter.attempts += 1
        request.meter.add(VAIN, 0.25)
        async for piece in super().stream(request):
            yield piece


async def test_what_attempts_cost_that_came_to_no_reply_is_of_the_turn() -> None:
    ending = await completed(run_of(Agent(name="a"), Wasteful(says("done"))))

    assert (ending.usage, ending.cost) == (SPENT + VAIN, 0.75)
    assert ending.steps[0].usage == SPENT + VAIN


async def test_a_turn_that_fails_counts_them_too() -> None:
    ending = await failed(run_of(Agent(name="a"), Wasteful(ModelError("x", "no", retryable=False))))

    assert (ending.usage, ending.cost) == (VAIN, 0.25)


async def test_a_turn_that_is_tried_later_counts_those_of_each_attempt_once() -> None:
    away = Wasteful(ModelError("unavailable", "away", retryable=True))
    journal = Memory()
    for retries in range(2):
        ending = await run_of(Agent(name="a"), away, journal, retries=retries).run()
        assert isinstance(ending, RetryLater)
        await journal.record(ending.steps)

    last = await completed(run_of(Agent(name="a"), Wasteful(says("done")), journal))

    assert (last.usage, last.cost) == (VAIN + VAIN + VAIN + SPENT, 1.25)


@pytest.mark.parametrize("ends", ["cancelled", "handed over"])
async def test_a_call_that_is_broken_off_is_counted_once(ends: str) -> None:
    class Cancelled(Exception):
        pass

    class BrokenOff(Wasteful):
        async def stream(self, request: ModelRequest) -> AsyncIterator[TextDelta | StreamRestarted | ModelReply]:
            request.meter.attempts += 1
            request.meter.add(VAIN, 0.25)
            yield TextDelta("the first ")
            raise Cancelled

    run = run_of(Agent(name="a"), BrokenOff())
    with pytest.raises(Cancelled):
        await run.run()

    if ends == "cancelled":
        ending = run.end_cancelled()
        assert (ending.usage, ending.cost) == (VAIN, 0.25)
        assert [(message.content, message.state) for message in ending.messages] == [("the first ", "partial")]
    else:
        handed_over = run.hand_over()
        assert isinstance(handed_over, HandOver)
        assert [(step.state, step.usage) for step in handed_over.steps] == [("started", VAIN)]


async def test_what_a_filter_stopped_is_not_kept_as_half_an_answer() -> None:
    class Filtered(Scripted):
        async def stream(self, request: ModelRequest) -> AsyncIterator[TextDelta | StreamRestarted | ModelReply]:
            yield TextDelta("something that ")
            raise ModelError("content_filtered", "I do not answer 'something that'", retryable=False)

    ending = await failed(run_of(Agent(name="a"), Filtered()))

    assert ending.error.message == "content_filtered: the provider's rules forbid the conversation, or the answer"
    assert ending.messages == ()
