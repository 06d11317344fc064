"""A library call and a provider: long messages, cut and refused answers, and what all of it cost."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from conversation.message import ToolCall, Usage
from store.turns import records
from tests.litellm_border import LITELLM_WARNINGS, provider_in_environment
from tests.stub_openai import USAGE, StubOpenAI, cut_in_mid_stream, reply, status, stream, text_delta
from threadmill import Agent, Message, Thread, ThreadStore, TurnFailed

pytestmark = [pytest.mark.filterwarnings(warning) for warning in LITELLM_WARNINGS]


@pytest.fixture
async def provider(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[StubOpenAI]:
    async with provider_in_environment(monkeypatch) as stub:
        yield stub


@pytest.fixture
async def store() -> AsyncIterator[ThreadStore]:
    async with await ThreadStore.create("sqlite+aiosqlite:///:memory:") as store:
        yield store


def agent_of(provider: StubOpenAI, store: ThreadStore, **values: Any) -> Agent:
    # Of a window that nobody knows.
    values = {"name": "a", "model_name": "openai/our-own", "model_max_attempts": 2} | values
    return Agent(thread_store=store, **values)


def user(text: str) -> Message:
    return Message(role="user", content=text)


def takes(max_chars: int) -> Any:
    """A provider that refuses longer requests, and writes summaries."""

    def answer(request: Any) -> Any:
        messages = request.body["messages"]
        if sum(len(str(message["content"])) for message in messages) > max_chars:
            return status(400, message="prompt is too long for this model", error_code="context_length_exceeded")
        return reply('{"facts": ["much was said"]}' if "minutes" in str(messages[0]["content"]) else "All right.")

    return answer


async def test_a_long_message_ends_neither_its_turn_nor_the_next_and_a_summary_comes_to_stand_for_it(provider, store):
    provider.answer_with(takes(9_000))
    agent = agent_of(provider, store)
    thread = Thread(id="t", messages=[user("word " * 12_000)])

    first = await agent.go(thread)
    thread.add_message(user("hi"))
    second = await agent.go(thread)

    assert [first.content, second.content] == ["All right.", "All right."]
    assert len(first.omitted["cut"]) == 1
    assert second.omitted is not None
    [summary] = await store.summarize_thread("t", agent)
    assert summary.to_seq == 2
    thread.add_message(user("hi again"))
    third = await agent.go(thread)
    assert (third.content, third.omitted) == ("All right.", None)


async def test_an_answer_that_is_cut_is_kept_and_marked(provider, store):
    provider.enqueue(reply("Half of an", finish_reason="length"))

    result = await agent_of(provider, store).go(Thread(id="t", messages=[user("Write a book.")]))

    assert (result.content, result.is_truncated) == ("Half of an", True)
    assert (await store.get_thread("t")).messages[-1].state == "truncated"


async def test_a_cut_call_is_not_run_and_few_are_paid(provider, store):
    def write(text: str) -> str:
        raise AssertionError

    provider.answer_with(
        lambda _: reply(tool_calls=[ToolCall("c", "write", '{"text":"half"}')], finish_reason="length")
    )

    with pytest.raises(TurnFailed) as failed:
        await agent_of(provider, store, tools=[write]).go(Thread(id="t", messages=[user("Write.")]))

    assert (failed.value.kind, len(provider.requests)) == ("truncated", 2)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (
            reply("I may not.", finish_reason="content_filter"),
            "content_filtered: .*: the provider filtered the answer$",
        ),
        (reply("", refusal="I will not."), "content_refused: .*: the model refused to answer$"),
        (reply(""), "empty_reply: .* said nothing"),
        (reply("x" * 2_100_000), "reply_too_large"),
    ],
    ids=["filtered", "refused", "empty", "oversized"],
)
@pytest.mark.parametrize("streams", [True, False], ids=["streamed", "whole"])
async def test_what_would_fail_again_is_not_tried_again(provider, store, answer, text, streams):
    provider.answer_with(lambda _: answer)

    with pytest.raises(TurnFailed, match=text):
        await agent_of(provider, store, streams=streams).go(Thread(id="t", messages=[user("Hello?")]))

    assert len(provider.requests) == (2 if "empty" in text else 1)
    assert [m.content for m in (await store.get_thread("t")).messages] == ["Hello?"]


@pytest.mark.parametrize("streams", [True, False], ids=["streamed", "whole"])
async def test_what_the_provider_charged_is_what_the_turn_says(provider, store, streams):
    def look() -> str:
        return "found"

    provider.enqueue(
        status(500), reply(tool_calls=[ToolCall("c", "look", "{}")]), reply(""), reply("<think>Hm.</think>Done.")
    )

    result = await agent_of(provider, store, tools=[look], streams=streams, model_name="openai/gpt-4o").go(
        Thread(id="t", messages=[user("Look.")])
    )

    charged = sum((usage for request in provider.requests for usage in request.charges), Usage())
    assert (result.content, result.usage) == ("Done.", charged)
    assert result.usage == USAGE + USAGE + USAGE
    assert result.cost == pytest.approx(3 * 9.375e-05)


async def test_a_turn_that_fails_after_attempts_that_were_paid_says_what_they_cost(provider, store):
    provider.answer_with(lambda _: cut_in_mid_stream("one two three four five six"))

    with pytest.raises(TurnFailed) as failed:
        await agent_of(provider, store).go(Thread(id="t", messages=[user("Count.")]))

    record = await store.database.run_async(records.read, turn_id=failed.value.turn_id)
    charged = sum((usage for request in provider.requests for usage in request.charges), Usage())
    assert (charged.completion_tokens, len(provider.requests)) == (12, 2)
    # Nobody counted: by the length of what came, four characters a token.
    assert record.usage == Usage(2, 2 * (len("one two three four five six") // 4), is_estimate=True)


async def test_a_stream_that_goes_on_is_cut_by_the_turn_s_end_alone(provider, store):
    provider.answer_with(lambda _: stream(*[text_delta("word ")] * 200, pause_seconds=0.05))
    agent = agent_of(provider, store, max_turn_seconds=1.5, model_timeout_seconds=0.5, model_silence_seconds=0.5)

    with pytest.raises(TurnFailed) as failed:
        await agent.go(Thread(id="t", messages=[user("Talk.")]))

    assert (failed.value.kind, len(provider.requests)) == ("time_limit", 1)
    assert (await store.get_thread("t")).messages[-1].state == "partial"
