"""The request: stored messages as the chat-completions messages that a model is sent.

What stays true: every assistant tool call is followed directly by exactly one tool message,
wherever the window begins, because providers refuse anything else. The same messages give the same
bytes, so that a provider's prompt cache holds and a replay can be compared. What is built here knows no
provider: `agent.models.request_fitting` fits it to the one that is asked.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, assert_never

from agent.models.call_fitting import fit_arguments, fit_name
from agent.models.content_fitting import drop_addresses
from agent.models.credentials import without_credentials
from agent.models.parts import text_part
from agent.models.protocol import ModelRequest
from agent.models.provider_fields import unreachable_pictures
from agent.tools.result import failure
from conversation.history import segments
from conversation.message import Message, ToolCall
from conversation.parts import FilePart, ImagePart, Part, TextPart

#: What providers refuse in the name of a speaker.
_INVALID_IN_SPEAKER_NAME = re.compile(r"[\s<|\\/>]")

#: What the model reads where a call has no result: its thread was imported, or begins in mid-block.
_NO_RESULT = failure("NoResult", "no result of this call is known").content


def build_messages(
    *,
    system_texts: Sequence[str],
    window: Sequence[Message],
    new_messages: Sequence[Message] = (),
    attachment_parts: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
) -> list[dict[str, Any]]:
    """Build the request: the system texts as one message, then the window, then this turn's new messages.

    `attachment_parts` holds content parts by message id. Tool messages without their call are
    left out, calls without their result are closed, and a tool's result stands directly behind its call.
    """
    messages = [*window, *new_messages]
    parts_by_message, question_ids = attachment_parts or {}, _find_questions(messages)
    chat_messages: list[dict[str, Any]] = []
    text = "\n\n".join(text for text in system_texts if text)
    if text:
        chat_messages.append({"role": "system", "content": text})
    for segment in segments(messages):
        if segment[0].tool_calls:
            chat_messages += _build_block(segment[0], segment[1:], parts_by_message)
        for message in filter(_stands_alone, segment):
            chat_message = _build_message(message, parts_by_message.get(message.id, ()))
            if message.id in question_ids:
                chat_message["asks"] = True
            chat_messages.append(chat_message)
    addresses = unreachable_pictures(messages)
    return [drop_addresses(message, addresses) for message in chat_messages] if addresses else chat_messages


def request_digest(request: ModelRequest) -> str:
    """Half of the SHA-256 of what is asked; how long and how often to try, and with which key, is left out."""
    content = {
        "model": request.model,
        "messages": request.messages,
        "tools": request.tools,
        "parameters": without_credentials(request.parameters),
        "fallbacks": request.fallbacks,
    }
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), default=_to_json_value)
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:32]


def _find_questions(messages: Sequence[Message]) -> frozenset[str]:
    """The ids of system messages that their turn was asked by: it answers them, or is about to."""
    question_ids: set[str] = set()
    next_message: Message | None = None
    for message in reversed(messages):
        if message.role != "system":
            next_message = message
        elif message.turn_id is not None and (
            next_message is None
            or (next_message.role == "assistant" and next_message.turn_id in (None, message.turn_id))
        ):
            question_ids.add(message.id)
    return frozenset(question_ids)


def _stands_alone(message: Message) -> bool:
    """Whether a message is sent by itself: one with calls is with their results, and those are with it."""
    if message.role == "assistant":
        # Some providers refuse an assistant message that says nothing.
        return not message.tool_calls and bool(message.content)
    return message.role != "tool"


def _build_block(
    assistant: Message,
    remaining_messages: Sequence[Message],
    parts_by_message: Mapping[str, Sequence[Mapping[str, Any]]],
) -> Iterator[dict[str, Any]]:
    """An assistant message with calls and one result a call, in the order of the calls."""
    # The first of two calls with one id, and of two results for one call, is the one that counts.
    calls = {call.id: call for call in reversed(assistant.tool_calls)}
    first_calls = [calls[id_] for id_ in dict.fromkeys(call.id for call in assistant.tool_calls)]
    results = {message.tool_call_id: message for message in reversed(remaining_messages) if message.role == "tool"}
    yield {
        "role": "assistant",
        "content": assistant.content or None,
        "tool_calls": [_build_call(call) for call in first_calls],
        **_build_fields(assistant),
    }
    for call in first_calls:
        result = results.get(call.id)
        yield {
            "role": "tool",
            "tool_call_id": call.id,
            "name": fit_name(call.name),
            "content": _build_content(result, parts_by_message.get(result.id, ())) if result else _NO_RESULT,
        }


def _build_fields(message: Message) -> dict[str, Any]:
    if message.provider_fields is None:
        return {}
    reasoning = {} if message.reasoning is None else {"reasoning_content": message.reasoning}
    return {"provider_fields": message.provider_fields | reasoning}


def _build_message(message: Message, parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    chat_message: dict[str, Any] = {"role": message.role, "content": _build_content(message, parts)}
    if message.name:
        chat_message["name"] = _INVALID_IN_SPEAKER_NAME.sub("_", message.name)[:64]
    return chat_message | _build_fields(message)


def _build_content(message: Message, file_parts: Sequence[Mapping[str, Any]]) -> str | list[dict[str, Any]]:
    if not message.parts and not file_parts:
        return message.content
    if message.role != "user":
        # Providers take images from users only, and plain text from everyone.
        texts = [str(part["text"]) for part in file_parts if part.get("type") == "text"]
        return "\n\n".join(text for text in (message.content, *texts) if text)
    if not file_parts and all(isinstance(part, TextPart) for part in message.parts):
        return message.content
    parts: Sequence[Part] = message.parts or (TextPart(message.content),)
    parts_by_filename = _group_by_filename(message, file_parts)
    content_parts = [built for part in parts for built in _build_part(part, parts_by_filename)]
    # Files that no part names come last, in the order in which they were attached.
    return [*content_parts, *(dict(part) for left in parts_by_filename.values() for part in left)]


def _build_part(part: Part, parts_by_filename: dict[str, list[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    match part:
        case TextPart(text=text):
            return [{"type": "text", "text": text}] if text else []
        case ImagePart():
            return [part.to_json()]
        case FilePart(filename=filename) if filename in parts_by_filename:
            # A file that is named again is not sent again.
            file_parts, parts_by_filename[filename] = parts_by_filename[filename], []
            return [dict(file) for file in file_parts]
        case FilePart(filename=filename):
            return [text_part(filename, "[This file is not attached.]")]
        case _:
            assert_never(part)


def _group_by_filename(message: Message, file_parts: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """The parts of each file: there is one for each attachment, in their order."""
    names = [file.filename for file in message.attachments]
    parts_by_filename: dict[str, list[Mapping[str, Any]]] = {}
    for index, part in enumerate(file_parts):
        parts_by_filename.setdefault(names[index] if index < len(names) else "", []).append(part)
    return parts_by_filename


def _build_call(call: ToolCall) -> dict[str, Any]:
    function = {"name": fit_name(call.name), "arguments": fit_arguments(call.arguments)}
    return {"id": call.id, "type": "function", "function": function}


def _to_json_value(value: object) -> object:
    """A JSON value for an object that JSON does not know: never a repr, which may hold a memory address."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, AbstractSet):
        return sorted(value, key=str)
    if isinstance(value, type) and hasattr(value, "model_json_schema"):
        return value.model_json_schema()
    kind = value if isinstance(value, type) else type(value)
    return f"{kind.__module__}.{kind.__qualname__}"
