"""The journal as the loop writes it: the entries of model and tool calls.

What stays true: what `conversation.replay` reads back is what was written here, and all of it can be
stored: models send NULs, half characters and repeated ids.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, Protocol

from agent.models.protocol import ModelReply
from conversation.message import ToolCall, Usage
from conversation.pending_call import PendingRequest, digest_of
from conversation.replay import JournalledResult, write_fields
from conversation.step import Step
from conversation.storable_text import make_storable


class Journal(Protocol):
    """The journal of a turn's steps; each write is a short transaction of its own."""

    async def record(self, steps: Sequence[Step], pending: Sequence[PendingRequest] = ()) -> bool:
        """Record steps, and what the turn leaves to be decided while it goes on.

        Returns whether messages wait that the turn is to read before its next model call. Raises `LeaseLost` once the
        turn belongs to another worker.
        """
        ...

    async def take_messages(self, index: int) -> list[Step]:
        """Take those messages into the journal, from this index on, or none. Raises as `record`."""
        ...


def make_reply_storable(reply: ModelReply) -> ModelReply:
    """The reply with text that a database can hold and with tool calls whose ids differ."""
    seen_ids: set[str] = set()
    calls: list[ToolCall] = []
    for index, call in enumerate(reply.tool_calls):
        stored_id = make_storable(call.id)
        # Some providers send no id, or the same one twice.
        call_id = stored_id if stored_id and stored_id not in seen_ids else f"{stored_id or 'call'}-{index}"
        seen_ids.add(call_id)
        calls.append(ToolCall(call_id, make_storable(call.name), make_storable(call.arguments)))
    reasoning = None if reply.reasoning is None else make_storable(reply.reasoning)
    return replace(reply, content=make_storable(reply.content), reasoning=reasoning, tool_calls=tuple(calls))


def model_step(index: int, reply: ModelReply, request_digest: str, seconds: float = 0.0) -> Step:
    """The entry of a model call that finished, after so many seconds."""
    return Step(
        index=index,
        kind="model",
        name=reply.model,
        state="finished",
        request_digest=request_digest,
        result=_result_of(reply),
        usage=reply.usage,
        cost=reply.cost,
        seconds=seconds,
    )


def _result_of(reply: ModelReply) -> dict[str, Any]:
    """The parts of a reply that a step holds: most replies are a text alone, and those of every turn are stored."""
    result = {
        "content": reply.content,
        "tool_calls": [call.to_json() for call in reply.tool_calls],
        "reasoning": reply.reasoning,
        # Only how it ended otherwise than most is told.
        "finish_reason": None if reply.finish_reason == "stop" else reply.finish_reason,
        "provider_fields": write_fields(reply.provider_fields),
    }
    return {name: value for name, value in result.items() if value}


def unanswered_step(index: int, model: str, request_digest: str, *, usage: Usage, cost: float | None) -> Step:
    """The entry of a model call that was paid and got no reply: it is asked again, and its usage stays."""
    return Step(
        index=index, kind="model", name=model, state="started", request_digest=request_digest, usage=usage, cost=cost
    )


def tool_intent(index: int, call: ToolCall, *, may_wait: bool = False) -> Step:
    """The entry of a tool call that is about to start, or that may have to wait for a decision before it does."""
    digest = digest_of(call.name, call.arguments)
    state: Literal["waiting", "started"] = "waiting" if may_wait else "started"
    return Step(index=index, kind="tool", call_id=call.id, name=call.name, state=state, request_digest=digest)


def tool_step(index: int, call: ToolCall, result: JournalledResult, seconds: float = 0.0) -> Step:
    """The entry of a tool call that came to an end, after so many seconds."""
    result_json: dict[str, Any] = {"content": result.content, "files": [file.to_json() for file in result.files]}
    if result.hand_over is not None:
        result_json["hand_over"] = result.hand_over
    return replace(tool_intent(index, call), state=result.outcome, result=result_json, seconds=seconds)
