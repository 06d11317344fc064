"""One content has one outcome, streamed or whole; and what is charged for it is what is told."""

import asyncio
import contextlib
from dataclasses import replace
from typing import Any

import pytest

from agent.models.protocol import Meter, ModelReply, StreamRestarted, TextDelta
from conversation.errors import ModelError
from conversation.message import ToolCall, Usage
from tests.stub_openai import (
    USAGE,
    cut_in_mid_stream,
    finish,
    hang,
    reply,
    status,
    stream,
    text_delta,
    tool_delta,
    usage_chunk,
)

CALL = ToolCall("call_a", "write", '{"text":"half"}')


async def outcome(ask: Any, question: Any) -> Any:
    try:
        answer = await ask(question)
    except ModelError as error:
        return error.kind, error.retryable, str(error).partition(": ")[2]
    return answer.content, answer.reasoning, answer.tool_calls, answer.finish_reason


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (reply("Hi.", finish_reason="stop"), ("Hi.", None, (), "stop")),
        (reply("Half of", finish_reason="length"), ("Half of", None, (), "length")),
        (reply("", tool_calls=[CALL], finish_reason="length"), ("", None, (CALL,), "length")),
        (reply("", tool_calls=[CALL], finish_reason="stop"), ("", None, (CALL,), "tool_calls")),
        (reply("<think>Hm.</think>\n\nHi."), ("Hi.", "Hm.", (), "stop")),
        (reply("<think>never closed"), ("empty_reply", False, "the model said nothing")),
        (reply("In <think>mid</think> text."), ("In <think>mid</think> text.", None, (), "stop")),
        (reply("\n\nHi.", reasoning="Hm."), ("Hi.", "Hm.", (), "stop")),
        (reply("", finish_reason="stop"), ("empty_reply", False, "the model said nothing")),
        (reply("", finish_reason="length"), ("truncated", False, "cut at the token limit before the first word")),
        (
            reply("I may not.", finish_reason="content_filter"),
            ("content_filtered", False, "the provider filtered the answer"),
        ),
        (reply("", refusal="I will not."), ("content_refused", False, "the model refused to answer")),
        (reply("x" * 2_100_000), ("reply_too_large", False, "the answer has more than 2000000 characters")),
    ],
)
async def test_one_content_has_one_outcome(provider, ask, question, answer, expected):
    provider.answer_with(lambda _: answer)

    found = await outcome(ask, question)

    assert found == expected
    asked_twice = expected[0] == "empty_reply"
    assert len(provider.requests) == (2 if asked_twice else 1)


async def test_an_empty_reply_is_asked_for_once_more(provider, ask, question):
    provider.enqueue(reply(""), reply("Hi."))

    assert (await ask(question)).content == "Hi."


async def test_done_without_a_reason_ended_well_and_the_end_of_a_connection_did_not(provider, model, question):
    provider.enqueue(stream(text_delta("Hi"), ending="unfinished"), stream(text_delta("Hi")))

    items = [item async for item in model.stream(question)]

    assert items[:-1] == [TextDelta("Hi"), StreamRestarted(), TextDelta("Hi")]
    assert items[-1].content == "Hi"


@pytest.mark.parametrize("name", ["openai/our-own", "deepseek/deepseek-chat", "mistral/our-own", "hosted_vllm/our-own"])
@pytest.mark.parametrize(
    "case",
    [
        (stream(text_delta("Hi"), ending="unfinished"), "stream_interrupted"),
        (stream(text_delta("Hi"), finish("insufficient_system_resource")), "stream_interrupted"),
        (stream(text_delta("Hi"), finish("content_filter")), "content_filtered"),
        (stream(text_delta("Hi")), "stop"),
        (stream(text_delta("Hi"), finish("length")), "length"),
        (stream(text_delta('see "finish_reason": "error"'), finish()), "stop"),
    ],
    ids=["end of connection", "no resources", "filter", "done alone", "length", "said in the text"],
)
async def test_every_road_to_a_provider_tells_the_endings_apart(provider, model, question, name, case):
    answer, expected = case
    provider.answer_with(lambda _: answer)

    try:
        *_, reply_ = [item async for item in model.stream(replace(question, model=name, max_attempts=1))]
        found = reply_.finish_reason
    except ModelError as error:
        found = error.kind

    assert found == expected


async def test_calls_and_done_without_a_reason_are_calls(provider, model, question):
    provider.enqueue(stream(tool_delta(0, call_id="call_a", name="write", arguments=CALL.arguments)))

    [answer] = [item async for item in model.stream(question)]

    assert (answer.tool_calls, answer.finish_reason) == ((CALL,), "tool_calls")


async def test_a_stream_that_breaks_after_its_last_word_is_whole(provider, model, question):
    provider.enqueue(stream(text_delta("Hi."), finish(), ending="cut"))

    *_, answer = [item async for item in model.stream(question)]

    assert answer.content == "Hi."


async def test_halves_of_a_character_in_two_chunks_meet(provider, model, question):
    provider.enqueue(stream(text_delta("a\ud83d"), text_delta("\ude00"), finish()))

    *pieces, answer = [item async for item in model.stream(question)]

    assert "".join(piece.text for piece in pieces) == answer.content == "a😀"


async def test_many_equal_pieces_are_text(provider, model, question):
    provider.enqueue(stream(*[text_delta("----")] * 300, finish()))

    *_, answer = [item async for item in model.stream(question)]

    assert answer.content == "----" * 300


async def test_a_reply_without_an_end_is_cut_where_it_is_too_large(provider, model, question):
    provider.answer_with(lambda _: stream(*[text_delta("x" * 300_000)] * 20, ending="hang"))

    with pytest.raises(ModelError) as raised:
        [item async for item in model.stream(replace(question, timeout_seconds=60))]

    assert (raised.value.kind, len(provider.requests)) == ("reply_too_large", 1)


def charged(provider: Any) -> Usage:
    return sum((usage for request in provider.requests for usage in request.charges), Usage())


@pytest.mark.parametrize(
    "answers",
    [
        [reply("Hi.")],
        [reply(""), reply("Hi.")],
        [status(500), status(429), reply("Hi.")],
        [reply("Half", finish_reason="length")],
        [reply("No.", finish_reason="content_filter")],
        [reply(""), reply("")],
        [reply("", finish_reason="length")],
        [stream(text_delta("a"), usage_chunk(USAGE), ending="unfinished"), reply("Hi.")],
        [status(400)],
    ],
    ids=["ok", "empty once", "refused first", "cut", "filtered", "empty", "cut in silence", "broken", "refused"],
)
async def test_what_the_provider_charges_is_what_is_counted(provider, model, question, answers):
    provider.enqueue(*answers)
    meter = Meter()
    answer = ModelReply(model="none")

    with contextlib.suppress(ModelError):
        *_, answer = [item async for item in model.stream(replace(question, meter=meter))]

    assert answer.usage + meter.usage == charged(provider)
    assert not (answer.usage + meter.usage).is_estimate
    assert meter.cost == pytest.approx(sum_of_prices(meter.usage))


def sum_of_prices(usage: Usage) -> float:
    """By the price list of gpt-4o."""
    fresh_tokens = usage.prompt_tokens - usage.cached_tokens
    return (fresh_tokens * 2.5 + usage.cached_tokens * 1.25 + usage.completion_tokens * 10) / 1e6


@pytest.mark.parametrize("behaviour", [cut_in_mid_stream("a b c d e f g h"), hang()], ids=["cut", "no answer"])
async def test_what_was_not_counted_is_estimated(provider, model, question, behaviour):
    provider.enqueue(behaviour)
    meter = Meter()

    with pytest.raises(ModelError):
        [item async for item in model.stream(replace(question, meter=meter, max_attempts=1, timeout_seconds=0.3))]

    assert meter.usage.is_estimate
    assert meter.usage.prompt_tokens > 0
    assert meter.cost is not None


async def test_a_cancelled_attempt_is_counted(provider, ask, question):
    provider.enqueue(status(500), hang())
    meter = Meter()
    task = asyncio.create_task(ask(replace(question, meter=meter)))
    await asyncio.to_thread(provider.wait_for_requests, 2)

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert (meter.attempts, meter.usage.is_estimate) == (2, True)
    assert meter.usage.prompt_tokens > 0
