"""What a provider may do with a request: answer, refuse, stream, break, or say nothing.

What stays true: each function returns a behaviour and does nothing by itself; chunks are sent as the
test wrote them, wrapped in the envelope of the chat-completions format.
"""

import json
import time
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from conversation.message import ToolCall, Usage
from tests.stub_openai.exchange import Behaviour, Exchange

#: What a reply says it cost, where the test does not care.
USAGE = Usage(prompt_tokens=11, completion_tokens=7, cached_tokens=3)

Chunk = dict[str, Any]
Ending = Literal["done", "unfinished", "cut", "hang"]


def reply(
    text: str = "",
    *,
    tool_calls: Sequence[ToolCall] = (),
    usage: Usage | None = USAGE,
    model: str | None = None,
    reasoning: str | None = None,
    finish_reason: str | None = None,
    refusal: str | None = None,
) -> Behaviour:
    """Answer whole; as a stream, word by word, when the request asks for one."""
    reason = finish_reason or ("tool_calls" if tool_calls else "stop")

    def behave(exchange: Exchange) -> None:
        if exchange.request.wants_stream:
            refusal_chunks = [_chunk({"refusal": piece}) for piece in refusal or ""]
            chunks = [*_pieces(text, tool_calls, reasoning), *refusal_chunks, finish(reason)]
            stream(*chunks, *([usage_chunk(usage)] if usage else []), model=model)(exchange)
            return
        message: dict[str, Any] = {"role": "assistant", "content": text or None}
        if tool_calls:
            message["tool_calls"] = [_tool_call(call) for call in tool_calls]
        if reasoning:
            message["reasoning_content"] = reasoning
        if refusal:
            message["refusal"] = refusal
        exchange.charge(usage)
        choice = {"index": 0, "message": message, "finish_reason": reason}
        payload = {**_envelope(exchange, "chat.completion", model), "choices": [choice]}
        exchange.send_json(200, payload | ({"usage": _usage(usage)} if usage else {}))

    return behave


def stream(*chunks: Chunk, ending: Ending = "done", pause_seconds: float = 0, model: str | None = None) -> Behaviour:
    """Send these chunks as they are, with a pause after each, and then end so."""

    def behave(exchange: Exchange) -> None:
        exchange.start_stream()
        envelope = _envelope(exchange, "chat.completion.chunk", model)
        for chunk in chunks:
            exchange.charge_chunk(chunk)
            exchange.send_event(json.dumps({**envelope, **chunk}))
            if pause_seconds:
                exchange.wait(pause_seconds)
        if ending == "cut":
            exchange.cut()
            return
        if ending == "hang":
            exchange.wait()
        if ending == "done":
            exchange.send_event("[DONE]")
        exchange.end_stream()

    return behave


def status(
    code: int,
    *,
    retry_after: str | float | None = None,
    message: str = "",
    error_code: str | None = None,
    error_type: str = "stub_error",
) -> Behaviour:
    """Refuse with this status and OpenAI's shape of an error."""
    error = {"message": message or f"stub status {code}", "type": error_type, "code": error_code}
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    return lambda exchange: exchange.send_json(code, {"error": error}, headers)


def garbage(text: str = "<html>502 from a proxy</html>") -> Behaviour:
    """Answer 200 with what is no JSON."""
    return lambda exchange: exchange.send_json(200, text)


def hang() -> Behaviour:
    """Take the request and never answer."""
    return lambda exchange: exchange.wait()


def drop() -> Behaviour:
    """Take the request and break the connection without a byte."""
    return lambda exchange: exchange.cut()


def cut_in_mid_stream(text: str) -> Behaviour:
    """Stream this text and break the connection."""
    return stream(*_pieces(text, (), None), ending="cut")


def keep_alive(*, times: int, pause_seconds: float, then: Behaviour) -> Behaviour:
    """Send comments, as proxies do while a model thinks, and then answer."""

    def behave(exchange: Exchange) -> None:
        exchange.start_stream()
        for _ in range(times):
            exchange.send_comment("PROCESSING")
            exchange.wait(pause_seconds)
        then(exchange)

    return behave


def slow_chunks(text: str, *, pause_seconds: float) -> Behaviour:
    """Stream this text with a pause after each word, and end well."""
    return stream(*_pieces(text, (), None), finish(), pause_seconds=pause_seconds)


def text_delta(text: str) -> Chunk:
    return _chunk({"content": text})


def reasoning_delta(text: str) -> Chunk:
    return _chunk({"reasoning_content": text})


def tool_delta(
    index: int | None, *, call_id: str | None = None, name: str | None = None, arguments: str | None = None
) -> Chunk:
    """A piece of a tool call; what is None is left out, as providers do."""
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    call: dict[str, Any] = {"function": function}
    call |= {} if index is None else {"index": index}
    call |= {} if call_id is None else {"id": call_id, "type": "function"}
    return _chunk({"tool_calls": [call]})


def finish(reason: str = "stop") -> Chunk:
    return _chunk({}, reason)


def usage_chunk(usage: Usage) -> Chunk:
    return {"choices": [], "usage": _usage(usage)}


def _pieces(text: str, tool_calls: Sequence[ToolCall], reasoning: str | None) -> Iterator[Chunk]:
    if reasoning:
        yield reasoning_delta(reasoning)
    for number, word in enumerate(text.split(" ") if text else ()):
        yield text_delta(word if number == 0 else f" {word}")
    for index, call in enumerate(tool_calls):
        yield tool_delta(index, call_id=call.id, name=call.name, arguments="")
        yield tool_delta(index, arguments=call.arguments)


def _chunk(delta: dict[str, Any], finish_reason: str | None = None) -> Chunk:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]}


def _envelope(exchange: Exchange, kind: str, model: str | None) -> dict[str, Any]:
    name = model or exchange.request.body.get("model", "stub")
    return {"id": "chatcmpl-stub", "object": kind, "created": int(time.time()), "model": name}


def _tool_call(call: ToolCall) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
    }
