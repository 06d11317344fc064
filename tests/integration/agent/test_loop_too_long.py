"""What a model finds too long is asked again with less, within the same turn, and what was left out is told."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from agent.agent import Agent
from agent.models.capabilities import Capabilities
from agent.models.protocol import ModelReply, ModelRequest
from agent.tools.tool import tool
from conversation.errors import ModelError
from conversation.message import Message
from tests.integration.scripted import Scripted, call, completed, failed, run_of, says


def length_of(request: ModelRequest) -> int:
    return sum(len(json.dumps(message)) for message in request.messages)


def small(max_chars: int, answer: Callable[[ModelRequest], ModelReply], *, max_tokens: int | None = None) -> Any:
    """A model that refuses what is longer, as providers do."""

    def ask(request: ModelRequest) -> ModelReply:
        if length_of(request) > max_chars:
            raise ModelError("context_length", "too long", retryable=False, max_tokens=max_tokens)
        return answer(request)

    return Scripted(ask)


def user(text: str) -> Message:
    return Message(role="user", content=text)


@pytest.mark.parametrize("max_tokens", [None, 2_000, 10**9], ids=["none told", "told", "told wrong"])
async def test_a_long_message_is_cut_until_the_model_takes_it(max_tokens: int | None) -> None:
    long_message = user("begin " + "word " * 12_000 + "end")
    model = small(8_000, lambda _: says("done"), max_tokens=max_tokens)

    ending = await completed(run_of(Agent(name="a"), model, window=(long_message,)))

    assert ending.messages[-1].content == "done"
    text = model.requests[-1].messages[-1]["content"]
    assert text.startswith("begin ")
    assert text.endswith(" end")
    assert ending.omitted == {"messages": [], "cut": {long_message.id: ending.omitted["cut"][long_message.id]}}
    assert f"{ending.omitted['cut'][long_message.id]} characters are left out here" in text
    assert len(model.requests) < 8


async def test_older_turns_go_first_and_the_question_stays_whole() -> None:
    old = [user("old " * 500), Message(role="assistant", content="fine " * 500), user("older " * 500)]
    question = user("What now?")
    model = small(3_000, lambda _: says("done"))

    ending = await completed(run_of(Agent(name="a"), model, window=(*old, question)))

    assert model.requests[-1].messages[-1]["content"] == "What now?"
    assert ending.omitted == {"messages": [message.id for message in old], "cut": {}}


async def test_a_long_tool_result_is_cut_and_its_call_keeps_it() -> None:
    @tool
    def read() -> str:
        return "x" * 50_000

    def answer(request: ModelRequest) -> ModelReply:
        return says("done") if request.messages[-1]["role"] == "tool" else says("", call("read", "1"))

    model = small(8_000, answer)

    ending = await completed(run_of(Agent(name="a", tools=[read]), model))

    result = next(message for message in ending.messages if message.role == "tool")
    # What is stored stays whole.
    assert len(result.content) > 50_000
    assert list(ending.omitted["cut"]) == [result.id]


async def test_a_request_that_cannot_be_made_small_enough_fails_the_turn() -> None:
    model = small(10, lambda _: says("done"))

    ending = await failed(run_of(Agent(name="a"), model, window=(user("word " * 1000),)))

    assert ending.error.message.startswith("context_length")
    assert len(model.requests) < 12


@pytest.mark.soak
async def test_the_known_window_is_used_before_the_model_says_no() -> None:
    model = small(10**9, lambda _: says("done"))
    agent = Agent(name="a", capabilities=Capabilities(max_input_tokens=1_000))

    ending = await completed(run_of(agent, model, window=(user("word " * 12_000),)))

    assert len(model.requests) == 1
    assert length_of(model.requests[0]) < 6_000
    assert ending.omitted is not None


async def test_what_fits_into_the_known_window_is_not_touched() -> None:
    model = small(10**9, lambda _: says("done"))
    # Its estimate is above the limit, its count is not.
    agent = Agent(name="a", capabilities=Capabilities(max_input_tokens=2_000))
    text = "word " * 1_400

    ending = await completed(run_of(agent, model, window=(user(text),)))

    assert model.requests[0].messages[-1]["content"] == text
    assert ending.omitted is None


async def test_a_turn_that_is_asked_again_with_less_takes_the_same_indexes_of_the_journal() -> None:
    @tool
    def look() -> str:
        return "found"

    def answer(request: ModelRequest) -> ModelReply:
        return says("done") if request.messages[-1]["role"] == "tool" else says("", call("look", "1"))

    ending = await completed(run_of(Agent(name="a", tools=[look]), small(3_000, answer), window=(user("w " * 9_000),)))

    assert [step.index for step in ending.steps] == [2]
