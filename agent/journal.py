"""The journal as the loop writes it, and a model's reply as it stands there.

What stays true: a reply that was read back is the reply that was written, and all of it can be
stored: models send NULs, half characters and repeated ids.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from agent.models.protocol import ModelReply
from agent.tools.result import Outcome
from agent.transcript import Transcript
from conversation.attachment import Attachment
from conversation.message import Message, ToolCall, Usage
from conversation.step import Step
from conversation.storable_text import make_storable
from conversation.turn import Cancelled, ClaimedTurn, Failed


class Journal(Protocol):
    """The journal of a turn's steps; each write is a short transaction of its own."""

    async def record(self, steps: Sequence[Step]) -> None:
        """Record steps. Raises `LeaseLost` once the turn belongs to another worker."""
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


def replay_transcript(steps: Mapping[int, Step], source: Mapping[str, Any]) -> Transcript:
    """Rebuild the transcript of an interrupted turn from its journal alone: nothing is asked or run."""
    transcript = Transcript()
    for index in sorted(steps):
        step = steps[index]
        if step.kind == "model":
            reply = reply_of(step)
            transcript.spend(reply.usage, reply.cost)
            transcript.close_block()
            transcript.open_block(assistant_message(reply, source))
        elif step.result is not None:
            transcript.add_result(tool_message(step.call_id, step.name, tool_result_of(step)))
    return transcript


def ending_without_run(claimed: ClaimedTurn) -> Failed | Cancelled | None:
    """The ending of a turn that must not run, or not continue: its messages so far are kept, closed."""
    if claimed.refusal is None and not claimed.cancel_requested:
        return None
    transcript = replay_transcript(claimed.steps, {"agent": claimed.agent})
    messages = transcript.close()
    if claimed.refusal is None:
        return Cancelled(messages=messages, usage=transcript.usage, cost=transcript.cost)
    return Failed(error=claimed.refusal, messages=messages, usage=transcript.usage, cost=transcript.cost)


def assistant_message(reply: ModelReply, source: Mapping[str, Any]) -> Message:
    """A reply as a message of the conversation."""
    return Message(
        role="assistant",
        content=reply.content,
        tool_calls=reply.tool_calls,
        reasoning=reply.reasoning,
        usage=reply.usage,
        source=dict(source) | {"model": reply.model},
    )


def tool_intent(index: int, call: ToolCall) -> Step:
    """A tool call that is about to start."""
    digest = hashlib.sha256(f"{call.name}\n{call.arguments}".encode()).hexdigest()
    return Step(
        index=index, kind="tool", call_id=call.id, name=call.name, state="started", request_digest=digest
    )


@dataclass(frozen=True, slots=True)
class JournalledResult:
    """A tool's result as the journal keeps it: its files are stored, and only pointed to."""

    #: JSON text for the model.
    content: str
    outcome: Outcome = "finished"
    files: tuple[Attachment, ...] = ()


def tool_step(index: int, call: ToolCall, result: JournalledResult) -> Step:
    """A tool call that came to an end."""
    result_json = {"content": result.content, "files": [file.to_json() for file in result.files]}
    return replace(tool_intent(index, call), state=result.outcome, result=result_json)


def tool_result_of(step: Step) -> JournalledResult:
    """The result of a tool call that came to an end in an earlier attempt."""
    assert step.state != "started"
    result = step.result or {}
    files = tuple(Attachment(**file) for file in result.get("files", ()))
    return JournalledResult(str(result.get("content", "")), step.state, files)


def tool_message(call_id: str, name: str, result: JournalledResult) -> Message:
    """A tool's result as a message of the conversation."""
    return Message(
        role="tool", tool_call_id=call_id, name=name, content=result.content, attachments=list(result.files)
    )
