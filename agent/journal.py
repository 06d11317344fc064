"""The journal as the loop writes it, and a model's reply as it stands there.

What stays true: a reply that was read back is the reply that was written, and all of it can be
stored: models send NULs, half characters and repeated ids.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from agent.model import ModelReply
from conversation.message import ToolCall, Usage
from conversation.step import Step


class Journal(Protocol):
    """Where steps are written, each write in a short transaction of its own."""

    async def record(self, steps: Sequence[Step]) -> None:
        """Raises `LeaseLost` once the turn belongs to another worker."""
        ...


def storable(reply: ModelReply) -> ModelReply:
    """The reply with text that a database can hold and with tool calls whose ids differ."""
    seen: set[str] = set()
    calls: list[ToolCall] = []
    for index, call in enumerate(reply.tool_calls):
        given = _text(call.id)
        # Some providers send no id, or the same one twice.
        call_id = given if given and given not in seen else f"{given or 'call'}-{index}"
        seen.add(call_id)
        calls.append(ToolCall(call_id, _text(call.name), _text(call.arguments)))
    reasoning = None if reply.reasoning is None else _text(reply.reasoning)
    return replace(reply, content=_text(reply.content), reasoning=reasoning, tool_calls=tuple(calls))


def model_step(index: int, reply: ModelReply, request_digest: str) -> Step:
    """A model call that finished."""
    return Step(
        index=index,
        kind="model",
        name=reply.model,
        state="finished",
        request_digest=request_digest,
        result={
            "content": reply.content,
            "tool_calls": [call.to_json() for call in reply.tool_calls],
            "reasoning": reply.reasoning,
            "finish_reason": reply.finish_reason,
        },
        usage=reply.usage,
        cost=reply.cost,
    )


def reply_of(step: Step) -> ModelReply:
    """The reply of a model call that finished in an earlier attempt."""
    result = step.result or {}
    return ModelReply(
        content=result.get("content", ""),
        tool_calls=tuple(ToolCall(**call) for call in result.get("tool_calls", ())),
        reasoning=result.get("reasoning"),
        model=step.name,
        finish_reason=result.get("finish_reason", "stop"),
        usage=step.usage or Usage(),
        cost=step.cost,
    )


def tool_intent(index: int, call: ToolCall) -> Step:
    """A tool call that is about to start."""
    asked = hashlib.sha256(f"{call.name}\n{call.arguments}".encode()).hexdigest()
    return Step(
        index=index, kind="tool", call_id=call.id, name=call.name, state="started", request_digest=asked
    )


def _text(text: str) -> str:
    return text.replace("\x00", "").encode("utf-8", "replace").decode()
