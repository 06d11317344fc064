"""Message lists of chat-completions requests, as they lie in logs and exports, read as ours.

What stays true: what comes out is well-formed and can be stored; whatever had to be changed for that
is noted, in a sentence that names the position; nothing is left out in silence.
"""

import base64
import binascii
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from conversation.arguments import take_items
from conversation.attachment import Attachment
from conversation.errors import InvalidInput
from conversation.history import RepairedHistory, repair
from conversation.message import Message, ToolCall
from conversation.parts import PARTS_MAX, FilePart, ImagePart, Part, TextPart
from conversation.storable_text import make_storable
from conversation.validation import CONTENT_MAX_CHARS, check_metadata, check_text

#: Role in a chat-completions request → ours, where the two differ.
ROLES = {"developer": "system", "function": "tool"}
#: The `source` of an imported message.
SOURCE = {"importer": "openai"}
#: Messages of one list: a longer conversation is imported in several, which are appended.
MESSAGES_MAX = 10_000
#: Media type → the ending of a file's name, for pictures that came without one.
_ENDINGS = {"image/jpeg": "jpg", "image/svg+xml": "svg"}


def from_openai(messages: Iterable[Mapping[str, Any]]) -> RepairedHistory:
    """Convert a list into our messages. Raises `InvalidInput` with the position of what cannot be read."""
    reader = _Reader()
    items = take_items("messages", messages, MESSAGES_MAX)
    own_messages = [reader.read_message(index, item) for index, item in enumerate(items)]
    history = repair(own_messages)
    return RepairedHistory(history.messages, (*reader.changes, *history.changes))


@dataclass(slots=True)
class _Reader:
    """The reader of one list, in order: an old kind of call is answered by name, without an id."""

    changes: list[str] = field(default_factory=list)
    #: The id that was made up for the newest call of each function.
    _legacy_call_ids: dict[str, str] = field(default_factory=dict)

    def read_message(self, index: int, item: object) -> Message:
        position = f"messages[{index}]"
        if not isinstance(item, Mapping):
            raise InvalidInput(position, f"is {type(item).__name__}", "pass dicts with role and content")
        try:
            return self._convert_message(position, item)
        except InvalidInput as error:
            field_ = error.field if error.field.startswith(position) else f"{position}.{error.field}"
            raise InvalidInput(field_, error.problem, error.fix) from error
        except Exception as error:
            # A value of somebody else's type, whose own code fails.
            problem = f"cannot be read ({type(error).__name__})"
            raise InvalidInput(position, problem, "pass plain dicts, lists and texts") from error

    def _convert_message(self, position: str, item: Mapping[str, Any]) -> Message:
        foreign_role = item.get("role")
        role: Any = ROLES.get(foreign_role, foreign_role) if isinstance(foreign_role, str) else foreign_role
        if isinstance(role, str) and role != foreign_role:
            self.changes.append(f"{position}: the role {foreign_role} became {role}")
        parts, files = self._convert_content(position, item)
        is_text_only = all(isinstance(part, TextPart) for part in parts) and len(parts) < 2
        return Message(
            role=role,
            content="".join(part.text for part in parts if isinstance(part, TextPart)) if is_text_only else "",
            parts=() if is_text_only else tuple(parts),
            attachments=files,
            tool_calls=self._convert_calls(position, item),
            tool_call_id=self._find_call_id(position, item) if role == "tool" else None,
            name=item.get("name"),
            reasoning=item.get("reasoning_content"),
            source=dict(SOURCE),
        )

    def _convert_content(self, position: str, message: Mapping[str, Any]) -> tuple[list[Part], list[Attachment]]:
        content = message.get("content")
        if content is None:
            content = message.get("refusal") or ""
        parts: list[Part] = []
        files: list[Attachment] = []
        items = [content] if isinstance(content, str) else _check_list("content", content)
        for index, item in enumerate(items):
            try:
                parts.append(self._convert_part(f"{position}.content[{index}]", item, files))
            except InvalidInput as error:
                raise InvalidInput(f"{position}.content[{index}]", error.problem, error.fix) from error
        return parts, files

    def _convert_part(self, position: str, item: object, files: list[Attachment]) -> Part:
        match item:
            case str():
                return TextPart(self._clean_text(position, item))
            case {"type": "text" | "input_text" | "output_text", "text": str(text)}:
                return TextPart(self._clean_text(position, text))
            case {"type": "refusal", "refusal": str(text)}:
                return TextPart(self._clean_text(position, text))
            case {"type": "image_url", "image_url": {"url": str(url)} | str(url)}:
                return self._attach_file(position, "image", url, files) if url.startswith("data:") else ImagePart(url)
            case {"type": "file", "file": {"filename": str(filename), "file_data": str(data)}}:
                return self._attach_file(position, filename, data, files)
            case {"type": "text" | "input_text" | "output_text" | "refusal" | "image_url" as kind}:
                raise InvalidInput("content", f"is a {kind} without one", "pass its text, or its url")
            case {"type": str(kind)}:
                self.changes.append(f"{position}: a part of type {kind} was left out; a note stands in its place")
                return TextPart(f"[A part of type {kind} was not imported.]")
        raise InvalidInput("content", f"is {type(item).__name__}", "pass text or a list of parts")

    def _attach_file(self, position: str, filename: str, url: str, files: list[Attachment]) -> FilePart:
        """Make a file that is written into a message an attachment of it."""
        head, _, data = url.rpartition(",")
        media_type = head.removeprefix("data:").partition(";")[0] or None
        try:
            content = base64.b64decode(data, validate=True)
        except (binascii.Error, ValueError):
            raise InvalidInput("file", "is no base64", "pass data:<type>;base64,<bytes>") from None
        if filename == "image":
            kind = (media_type or "").removeprefix("image/")
            filename = f"image-{len(files) + 1}.{_ENDINGS.get(media_type or '', kind or 'bin')}"
        files.append(Attachment(filename=filename, content=content, media_type=media_type))
        self.changes.append(f"{position}: its bytes became the attachment {filename}")
        return FilePart(filename)

    def _clean_text(self, position: str, text: str) -> str:
        clean_text = make_storable(text, nul="\ufffd")
        if clean_text != text:
            self.changes.append(f"{position}: characters that no database stores were replaced")
        return clean_text

    def _convert_calls(self, position: str, message: Mapping[str, Any]) -> tuple[ToolCall, ...]:
        calls = [
            self._convert_call(f"{position}.tool_calls[{index}]", call)
            for index, call in enumerate(_check_list("tool_calls", message.get("tool_calls") or []))
        ]
        function_call = message.get("function_call")
        if function_call:
            id_ = f"call_{len(self._legacy_call_ids)}_{position}"
            self.changes.append(f"{position}: its function_call became the tool call {id_}")
            calls.append(self._convert_call(position, {"id": id_, "function": function_call}))
            self._legacy_call_ids[calls[-1].name] = id_
        return tuple(calls)

    def _convert_call(self, position: str, call: object) -> ToolCall:
        match call:
            case {"id": str(id_), "function": {"name": str(name), "arguments": str(arguments)}}:
                return ToolCall(id_, name, self._clean_text(position, arguments))
            case {"id": str(id_), "function": {"name": str(name), "arguments": Mapping() as values}}:
                self.changes.append(f"{position}: its arguments became text")
                plain_values = check_metadata("arguments", values, max_bytes=CONTENT_MAX_CHARS)
                return ToolCall(id_, name, json.dumps(plain_values))
            case {"id": str(id_), "custom": {"name": str(name), "input": str(text)}}:
                self.changes.append(f"{position}: its input became the argument `input`")
                return ToolCall(id_, name, json.dumps({"input": self._clean_text(position, text)}))
        raise InvalidInput(position, "is no tool call", "pass id and function with name and arguments")

    def _find_call_id(self, position: str, message: Mapping[str, Any]) -> str:
        name, id_ = message.get("name"), message.get("tool_call_id")
        if not id_ and isinstance(name, str):
            id_ = self._legacy_call_ids.get(name)
        if id_:
            return check_text("tool_call_id", id_)
        # It answers nothing that is known: the repair leaves it out and says so.
        return position


def _check_list(field_: str, value: object) -> Sequence[object]:
    if not isinstance(value, list | tuple):
        raise InvalidInput(field_, f"is {type(value).__name__}", "pass a list")
    return take_items(field_, value, PARTS_MAX)
