"""What a stub answers: one reply, in each provider's form, whole or streamed.

What stays true: `sign` gives the same signature for the same text, so that a check can tell a text that was changed.
"""

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from conversation.message import ToolCall

#: What litellm sends to Gemini where no signature is known; Google documents it as the last resort.
ANY_SIGNATURE = base64.b64encode(b"skip_thought_signature_validator").decode()


@dataclass(frozen=True, slots=True)
class Said:
    """One reply, as the provider would give it."""

    text: str = ""
    calls: Sequence[ToolCall] = ()
    thought: str = ""
    is_cut: bool = False


def sign(text: str) -> str:
    """The signature of a text: long, as real ones are, and of base64's characters."""
    return base64.b64encode(hashlib.sha512(text.encode()).digest() * 3).decode()


def openai_message(said: Said, family: str) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": said.text or None}
    if said.calls:
        message["tool_calls"] = [
            {"id": c.id, "type": "function", "function": {"name": c.name, "arguments": c.arguments}} for c in said.calls
        ]
    if said.thought and family == "deepseek":
        message["reasoning_content"] = said.thought
    if said.thought and family == "openrouter":
        message["reasoning"] = said.thought
        message["reasoning_details"] = [
            {"type": "reasoning.text", "text": said.thought, "signature": sign(said.thought), "index": 0}
        ]
    return message


def openai(said: Said, family: str) -> dict[str, Any]:
    reason = "length" if said.is_cut else "tool_calls" if said.calls else "stop"
    choice = {"index": 0, "message": openai_message(said, family), "finish_reason": reason}
    usage = {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10}
    return {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}


def openai_events(said: Said, family: str) -> list[str]:
    message = openai_message(said, family)
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    if "reasoning_content" in message:
        deltas += [{"reasoning_content": char} for char in message["reasoning_content"]]
    for detail in message.get("reasoning_details", ()):
        deltas += [{"reasoning_details": [{**detail, "text": char, "signature": None}]} for char in detail["text"]]
        deltas += [{"reasoning_details": [{"type": detail["type"], "signature": detail["signature"], "index": 0}]}]
    deltas += [{"content": word} for word in said.text]
    deltas += [{"tool_calls": [{"index": n, **call}]} for n, call in enumerate(message.get("tool_calls", ()))]
    base = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    chunks = [{**base, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    reason = "tool_calls" if said.calls else "stop"
    chunks.append({**base, "choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
    return [*(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks), "data: [DONE]\n\n"]


def anthropic_blocks(said: Said) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    if said.thought:
        blocks.append({"type": "thinking", "thinking": said.thought, "signature": sign(said.thought)})
        blocks.append({"type": "redacted_thinking", "data": sign(f"redacted {said.thought}")})
    if said.text:
        blocks.append({"type": "text", "text": said.text})
    calls = [{"id": c.id, "name": c.name, "input": json.loads(c.arguments)} for c in said.calls]
    return [*blocks, *({"type": "tool_use", **call} for call in calls)]


def anthropic(said: Said) -> dict[str, Any]:
    reason = "max_tokens" if said.is_cut else "tool_use" if said.calls else "end_turn"
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude",
        "content": anthropic_blocks(said),
        "stop_reason": reason,
        "stop_sequence": None,
        "usage": {"input_tokens": 5, "output_tokens": 5},
    }


def anthropic_events(said: Said) -> list[str]:
    whole = anthropic(said)
    events: list[dict[str, Any]] = [{"type": "message_start", "message": {**whole, "content": [], "stop_reason": None}}]
    for index, block in enumerate(whole["content"]):
        start, deltas = _anthropic_deltas(block)
        events.append({"type": "content_block_start", "index": index, "content_block": start})
        events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": index})
    delta = {"stop_reason": whole["stop_reason"], "stop_sequence": None}
    events += [{"type": "message_delta", "delta": delta, "usage": {"output_tokens": 5}}, {"type": "message_stop"}]
    return [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events]


def _anthropic_deltas(block: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    match block["type"]:
        case "thinking":
            pieces = [{"type": "thinking_delta", "thinking": char} for char in block["thinking"]]
            signature = {"type": "signature_delta", "signature": block["signature"]}
            return {"type": "thinking", "thinking": "", "signature": ""}, [*pieces, signature]
        case "text":
            return {"type": "text", "text": ""}, [{"type": "text_delta", "text": char} for char in block["text"]]
        case "tool_use":
            arguments = {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
            return {**block, "input": {}}, [arguments]
    return block, []


def gemini(said: Said) -> dict[str, Any]:
    parts: list[dict[str, Any]] = []
    if said.thought:
        parts.append({"text": said.thought, "thought": True})
    if said.text:
        signature = {} if said.calls or not said.thought else {"thoughtSignature": sign(said.text)}
        parts.append({"text": said.text, **signature})
    for index, call in enumerate(said.calls):
        part: dict[str, Any] = {"functionCall": {"name": call.name, "args": json.loads(call.arguments)}}
        # Of calls in parallel, the first one alone is signed.
        parts.append(part if index else part | {"thoughtSignature": sign(call.name)})
    reason = "MAX_TOKENS" if said.is_cut else "STOP"
    candidate = {"content": {"role": "model", "parts": parts}, "finishReason": reason, "index": 0}
    usage = {"promptTokenCount": 5, "candidatesTokenCount": 5, "totalTokenCount": 10}
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "gemini"}


def bedrock(said: Said) -> dict[str, Any]:
    content: list[dict[str, Any]] = []
    if said.thought:
        text = {"text": said.thought, "signature": sign(said.thought)}
        content.append({"reasoningContent": {"reasoningText": text}})
    if said.text:
        content.append({"text": said.text})
    calls = [{"toolUseId": c.id, "name": c.name, "input": json.loads(c.arguments)} for c in said.calls]
    content += [{"toolUse": call} for call in calls]
    reason = "max_tokens" if said.is_cut else "tool_use" if said.calls else "end_turn"
    usage = {"inputTokens": 5, "outputTokens": 5, "totalTokens": 10}
    output = {"message": {"role": "assistant", "content": content}}
    return {"output": output, "stopReason": reason, "usage": usage, "metrics": {"latencyMs": 1}}
