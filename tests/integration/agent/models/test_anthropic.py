"""Anthropic's own format: how its answers end, what its errors are, and what it counts, on both roads."""

import json
from dataclasses import replace
from typing import Any

import pytest

from agent.models.protocol import Meter, ModelReply, ModelRequest
from conversation.errors import ModelError
from conversation.message import ToolCall, Usage
from tests.stub_openai import API_KEY, Behaviour, Exchange, StubOpenAI

COUNTS = {"input_tokens": 10, "cache_read_input_tokens": 5, "cache_creation_input_tokens": 2, "output_tokens": 7}
CALL = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"at": 1}}
THOUGHT = {"type": "thinking", "thinking": "Hm.", "signature": "s" * 200}


def answer(*blocks: dict[str, Any], reason: str | None = "end_turn", usage: Any = COUNTS) -> Behaviour:
    """Answer with these blocks: whole, or in pieces of a character each, as it is asked for."""

    def behave(exchange: Exchange) -> None:
        message = {"id": "m", "type": "message", "role": "assistant", "model": "claude", "content": list(blocks)}
        if not exchange.request.wants_stream:
            exchange.send_json(200, message | {"stop_reason": reason, "usage": usage})
            return
        send(
            exchange,
            {"type": "message_start", "message": message | {"content": [], "usage": usage | {"output_tokens": 1}}},
        )
        for index, block in enumerate(blocks):
            send_block(exchange, index, block)
        if reason is not None:
            send(exchange, {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": 7}})
            send(exchange, {"type": "message_stop"})
        exchange.end_stream()

    return behave


def send(exchange: Exchange, event: dict[str, Any]) -> None:
    exchange.start_stream()
    exchange.send_event(json.dumps(event))


def send_block(exchange: Exchange, index: int, block: dict[str, Any]) -> None:
    empty = {key: {} if key == "input" else "" for key in ("text", "thinking", "input") if key in block}
    names = {key: value for key, value in block.items() if key not in (*empty, "signature")}
    send(exchange, {"type": "content_block_start", "index": index, "content_block": names | empty})
    deltas = [{"type": "text_delta", "text": char} for char in block.get("text", "")]
    deltas += [{"type": "thinking_delta", "thinking": char} for char in block.get("thinking", "")]
    deltas += [{"type": "signature_delta", "signature": block["signature"]}] if "signature" in block else []
    if "input" in block:
        deltas += [{"type": "input_json_delta", "partial_json": char} for char in json.dumps(block["input"])]
    for delta in deltas:
        send(exchange, {"type": "content_block_delta", "index": index, "delta": delta})
    send(exchange, {"type": "content_block_stop", "index": index})


def refuse(code: int, kind: str, message: str = "No.", **headers: str) -> Behaviour:
    body = {"type": "error", "error": {"type": kind, "message": message}}
    return lambda exchange: exchange.send_json(code, body, headers)


@pytest.fixture
def asked(provider: StubOpenAI) -> ModelRequest:
    look = {"name": "look", "parameters": {"type": "object", "properties": {}}}
    return ModelRequest(
        model="anthropic/claude-sonnet-4-5",
        messages=[{"role": "user", "content": "Hello?"}],
        tools=[{"type": "function", "function": look}],
        parameters={"api_base": provider.base_url.removesuffix("/v1"), "api_key": API_KEY, "max_tokens": 50},
        timeout_seconds=5,
        max_attempts=1,
    )


async def outcome(ask: Any, asked: ModelRequest) -> Any:
    try:
        reply: ModelReply = await ask(asked)
    except ModelError as error:
        return error.kind, error.retryable
    return reply.content, reply.reasoning, reply.tool_calls, reply.finish_reason


@pytest.mark.parametrize(
    ("behaviour", "expected"),
    [
        (answer({"type": "text", "text": "Hi."}), ("Hi.", None, (), "stop")),
        (answer({"type": "text", "text": "Hi"}, reason="stop_sequence"), ("Hi", None, (), "stop")),
        (answer({"type": "text", "text": "Half"}, reason="max_tokens"), ("Half", None, (), "length")),
        (answer({"type": "text", "text": "No."}, reason="refusal"), ("content_refused", False)),
        (answer(reason="refusal"), ("content_refused", False)),
        (answer(), ("empty_reply", False)),
        (answer(reason="max_tokens"), ("truncated", False)),
        (
            answer(THOUGHT, {"type": "text", "text": "Hi."}, CALL, {**CALL, "id": "toolu_2"}, reason="tool_use"),
            (
                "Hi.",
                "Hm.",
                (ToolCall("toolu_1", "look", '{"at": 1}'), ToolCall("toolu_2", "look", '{"at": 1}')),
                "tool_calls",
            ),
        ),
        (
            answer({**CALL, "input": {}}, reason="tool_use"),
            ("", None, (ToolCall("toolu_1", "look", "{}"),), "tool_calls"),
        ),
        (refuse(400, "invalid_request_error"), ("refused", False)),
        (refuse(400, "invalid_request_error", "prompt is too long: 9 tokens > 8 maximum"), ("context_length", False)),
        (refuse(401, "authentication_error"), ("unauthorized", False)),
        (refuse(403, "permission_error"), ("unauthorized", False)),
        (refuse(404, "not_found_error"), ("not_found", False)),
        (refuse(413, "request_too_large"), ("context_length", False)),
        (refuse(429, "rate_limit_error"), ("rate_limited", True)),
        (refuse(500, "api_error"), ("unavailable", True)),
        (refuse(529, "overloaded_error"), ("unavailable", True)),
    ],
)
async def test_each_answer_of_anthropics_has_one_outcome(provider, ask, asked, behaviour, expected):
    provider.answer_with(lambda _: behaviour)

    result = await outcome(ask, asked)

    if expected == ("content_refused", False):
        # litellm gives the filter's word to a refusal.
        assert result in (expected, ("content_filtered", False))
    elif expected[2:] == ((ToolCall("toolu_1", "look", "{}"),), "tool_calls"):
        assert json.loads(result[2][0].arguments or "{}") == {}
    else:
        assert result == expected


async def test_what_anthropic_counts_is_what_is_told_and_priced(provider, ask, asked):
    provider.enqueue(answer({"type": "text", "text": "Hi."}))

    reply = await ask(asked)

    assert reply.usage == Usage(17, 7, 5)
    assert reply.cost == pytest.approx((10 * 3 + 5 * 0.3 + 2 * 3.75 + 7 * 15) / 1e6)


async def test_a_pause_that_anthropic_asks_for_is_told(provider, ask, asked):
    provider.answer_with(lambda _: refuse(429, "rate_limit_error", **{"Retry-After": "600"}))

    with pytest.raises(ModelError) as raised:
        await ask(asked)

    assert raised.value.retry_after_seconds == 600


async def test_a_stream_that_ends_without_its_last_word_is_broken_and_paid(provider, model, asked):
    provider.enqueue(answer({"type": "text", "text": "Hi."}, reason=None))
    meter = Meter()

    with pytest.raises(ModelError) as raised:
        [item async for item in model.stream(replace(asked, meter=meter))]

    assert (raised.value.kind, raised.value.retryable) == ("stream_interrupted", True)
    assert meter.usage.prompt_tokens == 17


@pytest.mark.parametrize("kind", ["overloaded_error", "api_error"])
async def test_an_error_in_mid_stream_is_tried_again(provider, model, asked, kind):
    def behave(exchange: Exchange) -> None:
        send(exchange, {"type": "message_start", "message": {"usage": COUNTS}})
        send_block(exchange, 0, {"type": "text", "text": "Hi."})
        send(exchange, {"type": "ping"})
        send(exchange, {"type": "error", "error": {"type": kind, "message": "Overloaded"}})
        exchange.end_stream()

    provider.enqueue(behave, answer({"type": "text", "text": "Hi again."}))

    *_, reply = [item async for item in model.stream(replace(asked, max_attempts=2))]

    assert reply.content == "Hi again."
