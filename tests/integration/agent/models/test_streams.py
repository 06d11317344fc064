"""Streams: tool calls in pieces, and streams that break, fall silent, or are left."""

import json
from dataclasses import replace
from typing import Any

import pytest

from agent.models.protocol import StreamRestarted, TextDelta
from conversation.errors import ModelError
from conversation.message import ToolCall, Usage
from tests.stub_openai import (
    API_KEY,
    USAGE,
    Behaviour,
    Exchange,
    cut_in_mid_stream,
    finish,
    reasoning_delta,
    reply,
    status,
    stream,
    text_delta,
    tool_delta,
    usage_chunk,
)

WEATHER = {
    "type": "function",
    "function": {"name": "weather", "description": "Now.", "parameters": {"type": "object", "properties": {}}},
}
CALLS = (ToolCall("call_a", "weather", '{"city": "Oslo"}'), ToolCall("call_b", "weather", '{"city": "Rome"}'))


def text_on_screen(items: list[Any]) -> str:
    """What a viewer sees once the stream has ended: nothing from before the last restart."""
    start = max((number for number, item in enumerate(items) if isinstance(item, StreamRestarted)), default=-1)
    return "".join(item.text for item in items[start + 1 :] if isinstance(item, TextDelta))


async def test_parallel_tool_calls_that_arrive_interleaved_are_told_apart(provider, model, question):
    provider.enqueue(
        stream(
            tool_delta(0, call_id="call_a", name="weather", arguments=""),
            tool_delta(1, call_id="call_b", name="weather", arguments=""),
            tool_delta(0, arguments='{"city": '),
            tool_delta(1, arguments='{"city": '),
            {"choices": []},
            tool_delta(1, arguments='"Rome"}'),
            tool_delta(0, arguments='"Oslo"}'),
            finish("tool_calls"),
            usage_chunk(USAGE),
        )
    )

    [answer] = [item async for item in model.stream(replace(question, tools=[WEATHER]))]

    assert (answer.tool_calls, answer.finish_reason, answer.usage) == (CALLS, "tool_calls", USAGE)


@pytest.mark.parametrize("index", [0, None], ids=["every index is zero", "no index"])
@pytest.mark.parametrize("repeats_id", [False, True], ids=["id once", "id repeated"])
async def test_tool_calls_of_providers_with_other_habits_are_told_apart(provider, model, question, index, repeats_id):
    deltas = [
        delta
        for call in CALLS
        for delta in (
            tool_delta(index, call_id=call.id, name=call.name, arguments=call.arguments[:5]),
            tool_delta(index, call_id=call.id if repeats_id else None, arguments=call.arguments[5:]),
        )
    ]
    provider.enqueue(stream(*deltas, finish("tool_calls")))

    [answer] = [item async for item in model.stream(replace(question, tools=[WEATHER]))]

    assert answer.tool_calls == CALLS


BROKEN_STREAMS = [
    pytest.param(cut_in_mid_stream("Hel lo"), "stream_interrupted", id="cut"),
    pytest.param(stream(text_delta("Hel lo"), ending="unfinished"), "stream_interrupted", id="ended without done"),
    pytest.param(stream(text_delta("Hel lo"), ending="hang"), "timeout", id="fell silent"),
    pytest.param(stream(text_delta("Hel lo"), {"error": {"message": "x"}}), "stream_interrupted", id="error in it"),
]


@pytest.mark.parametrize(("broken", "kind"), BROKEN_STREAMS)
async def test_a_broken_stream_is_void_and_asked_for_again(provider, model, question, broken, kind):
    provider.enqueue(broken, reply("Hello there."))

    items = [item async for item in model.stream(question)]

    assert items.count(StreamRestarted()) == 1
    assert isinstance(items[0], TextDelta)
    assert text_on_screen(items) == items[-1].content == "Hello there."


@pytest.mark.parametrize(("broken", "kind"), BROKEN_STREAMS)
async def test_a_stream_that_breaks_each_time_is_an_error_of_its_kind(provider, model, question, broken, kind):
    provider.answer_with(lambda _: broken)

    with pytest.raises(ModelError) as raised:
        [item async for item in model.stream(replace(question, max_attempts=2))]

    assert (raised.value.kind, raised.value.retryable, len(provider.requests)) == (kind, True, 2)


async def test_an_attempt_that_showed_nothing_is_replaced_silently(provider, model, question):
    provider.enqueue(status(500), stream(reasoning_delta("Hm"), ending="cut"), reply("Hi."))

    items = [item async for item in model.stream(question)]

    assert items[:-1] == [TextDelta("Hi.")]


async def test_a_fallback_voids_what_the_first_model_showed(provider, model, question):
    provider.enqueue(cut_in_mid_stream("Hel"), reply("Hi."))

    items = [item async for item in model.stream(replace(question, max_attempts=1, fallbacks=["openai/second"]))]

    assert items[:-1] == [TextDelta("Hel"), StreamRestarted(), TextDelta("Hi.")]


async def test_a_provider_of_another_format_streams_breaks_and_answers_alike(provider, model, question):
    provider.enqueue(anthropic_stream(events=4), anthropic_stream())
    parameters = {"api_key": API_KEY, "api_base": provider.base_url.removesuffix("/v1"), "max_tokens": 20}
    question = replace(question, model="anthropic/claude-sonnet-4-5", parameters=parameters, tools=[WEATHER])

    items = [item async for item in model.stream(question)]

    answer = items.pop()
    assert items == [TextDelta("Hi "), TextDelta("there"), StreamRestarted(), TextDelta("Hi "), TextDelta("there")]
    assert (answer.content, answer.tool_calls, answer.usage) == ("Hi there", CALLS[:1], Usage(14, 7, 3))
    assert answer.cost is not None


def anthropic_stream(events: int | None = None) -> Behaviour:
    """So many events of an answer in Anthropic's format, or all of them."""
    call = CALLS[0]
    message = {"id": "m", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5", "content": []}
    use = {"type": "tool_use", "id": call.id, "name": call.name, "input": {}}
    everything = [
        {"type": "message_start", "message": {**message, "usage": {"input_tokens": 11, "cache_read_input_tokens": 3}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi "}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "there"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "content_block_start", "index": 1, "content_block": use},
        _json_delta(call.arguments[:5]),
        _json_delta(call.arguments[5:]),
        {"type": "content_block_stop", "index": 1},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 7}},
        {"type": "message_stop"},
    ]

    def behave(exchange: Exchange) -> None:
        exchange.start_stream()
        for event in everything[:events]:
            exchange.send_event(json.dumps(event))
        exchange.end_stream()

    return behave


def _json_delta(piece: str) -> dict[str, Any]:
    delta = {"type": "input_json_delta", "partial_json": piece}
    return {"type": "content_block_delta", "index": 1, "delta": delta}
