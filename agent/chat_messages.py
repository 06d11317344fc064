"""The request: stored messages as the chat-completions messages that a model is sent.

What stays true: every assistant tool call is followed directly by exactly one tool message,
wherever the window was cut, because providers refuse anything else. The same messages give the same
bytes, so that a provider's prompt cache holds and a replay can be compared. Reasoning is never sent
back.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, assert_never

from agent.models.parts import text_part
from agent.models.protocol import ModelRequest
from agent.tools.result import failure
from conversation.history import segments
from conversation.message import Message, ToolCall
from conversation.parts import FilePart, ImagePart, Part, TextPart

#: Says how a call is made, not what is asked: a rotated key is still the same request.
_NOT_ASKED = frozenset({"api_key"})

#: What providers refuse in the name of a function, and of a speaker.
_NOT_IN_FUNCTION = re.compile(r"[^a-zA-Z0-9_-]")
_NOT_IN_SPEAKER = re.compile(r"[\s<|\\/>]")

#: What the model reads where a call has no result: its thread was imported, or cut in mid-block.
_NO_RESULT = failure("NoResult", "no result of this call is known").content


def build_messages(
    *,
    system_texts: Sequence[str],
    window: Sequence[Message],
    new: Sequence[Message] = (),
    attachment_parts: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
) -> list[dict[str, Any]]:
    """The system texts as one message, then the window, then what this turn added.

    `attachment_parts` holds content parts by message id. Tool messages without their call are
    left out, calls without their result are closed, and a tool's result stands directly behind its call.
    """
    parts = attachment_parts or {}
    built: list[dict[str, Any]] = []
    text = "\n\n".join(text for text in system_texts if text)
    if text:
        built.append({"role": "system", "content": text})
    for segment in segments([*window, *new]):
        built.extend(_build_segment(segment, parts))
    return built


def request_digest(request: ModelRequest) -> str:
    """SHA-256 of what is asked; how long and how often to try, and with which key, is left out."""
    asked = {
        "model": request.model,
        "messages": request.messages,
        "tools": request.tools,
        "parameters": {key: value for key, value in request.parameters.items() if key not in _NOT_ASKED},
        "fallbacks": request.fallbacks,
    }
    text = json.dumps(asked, sort_keys=True, separators=(",", ":"), default=_canonical)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def _build_segment(
    segment: Sequence[Message], parts: Mapping[str, Sequence[Mapping[str, Any]]]
) -> Iterator[dict[str, Any]]:
    head, rest = segment[0], segment
    if head.role == "assistant":
        rest = segment[1:]
        yield from _build_block(head, rest, parts)
    for message in rest:
        if message.role != "tool":
            yield _spoken(message, parts.get(message.id, ()))


def _build_block(
    assistant: Message, rest: Sequence[Message], parts: Mapping[str, Sequence[Mapping[str, Any]]]
) -> Iterator[dict[str, Any]]:
    """An assistant message and one result a call, in the order of the calls."""
    if not assistant.tool_calls:
        # Some providers refuse an assistant message that says nothing.
        if assistant.content:
            yield _spoken(assistant, parts.get(assistant.id, ()))
        return
    # The first of two calls with one id, and of two results for one call, is the one that counts.
    calls = {call.id: call for call in reversed(assistant.tool_calls)}
    first_calls = [calls[id_] for id_ in dict.fromkeys(call.id for call in assistant.tool_calls)]
    results = {message.tool_call_id: message for message in reversed(rest) if message.role == "tool"}
    yield {
        "role": "assistant",
        "content": assistant.content or None,
        "tool_calls": [_call(call) for call in first_calls],
    }
    for call in first_calls:
        result = results.get(call.id)
        yield {
            "role": "tool",
            "tool_call_id": call.id,
            "name": _function_name(call.name),
            "content": _content(result, parts.get(result.id, ())) if result else _NO_RESULT,
        }


def _spoken(message: Message, parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    built: dict[str, Any] = {"role": message.role, "content": _content(message, parts)}
    if message.name:
        built["name"] = _NOT_IN_SPEAKER.sub("_", message.name)[:64]
    return built


def _content(message: Message, files: Sequence[Mapping[str, Any]]) -> str | list[dict[str, Any]]:
    if message.role != "user":
        # Providers take images from users only, and plain text from everyone.
        texts = [str(part["text"]) for part in files if part.get("type") == "text"]
        return "\n\n".join(text for text in (message.content, *texts) if text)
    if not files and all(isinstance(part, TextPart) for part in message.parts):
        return message.content
    parts: Sequence[Part] = message.parts or (TextPart(message.content),)
    places = _files_by_name(message, files)
    said = [built for part in parts for built in _part(part, places)]
    # Whatever no part speaks of stands behind, in the order in which it was attached.
    return [*said, *(dict(part) for left in places.values() for part in left)]


def _part(part: Part, files: dict[str, list[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    match part:
        case TextPart(text=text):
            return [{"type": "text", "text": text}] if text else []
        case ImagePart():
            return [part.to_json()]
        case FilePart(filename=filename) if filename in files:
            # Spoken of again, it is not sent again.
            found, files[filename] = files[filename], []
            return [dict(file) for file in found]
        case FilePart(filename=filename):
            return [text_part(filename, "[This file is not attached.]")]
        case _:
            assert_never(part)


def _files_by_name(
    message: Message, files: Sequence[Mapping[str, Any]]
) -> dict[str, list[Mapping[str, Any]]]:
    """The parts of each file: there is one for each attachment, in their order."""
    names = [file.filename for file in message.attachments]
    places: dict[str, list[Mapping[str, Any]]] = {}
    for index, part in enumerate(files):
        places.setdefault(names[index] if index < len(names) else "", []).append(part)
    return places


def _call(call: ToolCall) -> dict[str, Any]:
    function = {"name": _function_name(call.name), "arguments": _arguments(call.arguments)}
    return {"id": call.id, "type": "function", "function": function}


def _function_name(name: str) -> str:
    """A made-up name, sent back as it is, would fail every later request of the thread."""
    return _NOT_IN_FUNCTION.sub("_", name)[:64] or "unknown"


def _arguments(text: str) -> str:
    """Arguments that are no JSON object are quoted in one: adapters parse what they send back."""
    try:
        if isinstance(json.loads(text.strip() or "{}"), dict):
            return text.strip() or "{}"
    except (ValueError, RecursionError):
        pass
    return json.dumps({"invalid_arguments": text})


def _canonical(value: object) -> object:
    """What JSON does not know: never a repr, which may hold an address."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, AbstractSet):
        return sorted(value, key=str)
    if isinstance(value, type) and hasattr(value, "model_json_schema"):
        return value.model_json_schema()
    kind = value if isinstance(value, type) else type(value)
    return f"{kind.__module__}.{kind.__qualname__}"
