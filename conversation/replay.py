"""A turn's journal as messages of the conversation: what it shows was said, without asking anything again.

What stays true: the transcript of a journal is the one of the run that wrote it, up to its last step.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from conversation.attachment import Attachment
from conversation.message import Message, ToolCall, Usage
from conversation.step import Step, message_of
from conversation.transcript import Transcript, reply_id, result_id


@dataclass(frozen=True, slots=True)
class JournalledResult:
    """A tool's result as the journal keeps it: its files are stored, and only pointed to."""

    #: JSON text for the model.
    content: str
    outcome: Literal["finished", "failed", "unknown"] = "finished"
    files: tuple[Attachment, ...] = ()
    #: The agent that the call hands the thread over to; None of most.
    hand_over: str | None = None


def replay_transcript(turn_id: str, steps: Mapping[int, Step], source: Mapping[str, Any]) -> Transcript:
    """Rebuild the transcript of an interrupted turn from its journal alone: nothing is asked or run."""
    transcript = Transcript()
    reply: Message | None = None
    for index in sorted(steps):
        step = steps[index]
        if step.kind == "model":
            transcript.spend(step.usage, step.cost)
        if step.parent is not None:
            continue  # what an agent said that was called as a tool is in that call's result
        if step.kind == "model":
            if step.result is None:
                continue  # attempts that came to no reply
            transcript.close_block()
            reply = assistant_message(turn_id, step, source)
            transcript.open_block(reply)
        elif step.kind == "input":
            transcript.close_block()
            transcript.messages.append(message_of(step))
        elif step.result is not None and reply is not None:
            result = tool_result_of(step)
            transcript.add_result(tool_message(reply, step.call_id, step.name, result))
            if result.hand_over is not None:
                transcript.note_hand_over(index, result.hand_over)
    return transcript


def assistant_message(turn_id: str, step: Step, source: Mapping[str, Any]) -> Message:
    """The reply of a model call as a message of the conversation."""
    result = step.result or {}
    return Message(
        id=reply_id(turn_id, step.index),
        role="assistant",
        content=result.get("content", ""),
        tool_calls=tool_calls_of(step),
        reasoning=result.get("reasoning"),
        provider_fields=_read_fields(result.get("provider_fields")),
        usage=step.usage or Usage(),
        source=dict(source) | {"model": step.name},
        state="truncated" if step.is_truncated else "complete",
    )


def write_fields(fields: Mapping[str, Any] | None) -> str | None:
    """A reply's own fields as text: a database that keeps JSON as values changes the order of keys."""
    return None if fields is None else json.dumps(fields)


def _read_fields(text: str | None) -> dict[str, Any] | None:
    return None if text is None else json.loads(text)


def tool_calls_of(step: Step) -> tuple[ToolCall, ...]:
    """The tool calls that a model's reply asks for."""
    result = step.result or {}
    return tuple(ToolCall(**call) for call in result.get("tool_calls", ()))


def tool_result_of(step: Step) -> JournalledResult:
    """The result of a tool call that came to an end."""
    assert step.state != "waiting"
    assert step.state != "started"
    result = step.result or {}
    files = tuple(Attachment(**file) for file in result.get("files", ()))
    return JournalledResult(str(result.get("content", "")), step.state, files, result.get("hand_over"))


def tool_message(reply: Message, call_id: str, name: str, result: JournalledResult) -> Message:
    """The result of a reply's tool call as a message of the conversation."""
    position = [call.id for call in reply.tool_calls].index(call_id) + 1
    return Message(
        id=result_id(reply.id, position),
        role="tool",
        tool_call_id=call_id,
        name=name,
        content=result.content,
        attachments=list(result.files),
    )
