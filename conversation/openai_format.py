"""Message lists of chat-completions requests, as they lie in logs and exports, read as ours.

What stays true: what comes out is well-formed and can be stored; whatever had to be changed for that
is said, in a sentence that names the place; nothing is left out in silence.
"""

import base64
import binascii
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from conversation.attachment import Attachment
from conversation.errors import InvalidInput
from conversation.history import Repairs, repairs
from conversation.message import Message, ToolCall
from conversation.parts import FilePart, ImagePart, Part, TextPart

#: Roles that are spelled in another way there.
ROLES = {"developer": "system", "function": "tool"}
#: Where an imported message says that it comes from.
SOURCE = {"importer": "openai"}
#: Media type → the ending of a file's name, for pictures that came without one.
_ENDINGS = {"image/jpeg": "jpg", "image/svg+xml": "svg"}


def from_openai(messages: Iterable[Mapping[str, Any]]) -> Repairs:
    """Our messages, and what was changed. Raises `InvalidInput` with the place of what cannot be read."""
    reader = _Reader()
    found = [reader.message(index, given) for index, given in enumerate(messages)]
    repaired = repairs(found)
    return Repairs(repaired.messages, (*reader.changes, *repaired.changes))


@dataclass(slots=True)
class _Reader:
    """Reads one list, in order: an old kind of call is answered by name, without an id."""

    changes: list[str] = field(default_factory=list)
    #: The id that was made up for the newest call of each function.
    _legacy: dict[str, str] = field(default_factory=dict)

    def message(self, index: int, given: object) -> Message:
        where = f"messages[{index}]"
        if not isinstance(given, Mapping):
            raise InvalidInput(where, f"is {type(given).__name__}", "pass dicts with role and content")
        try:
            return self._message(where, given)
        except InvalidInput as error:
            field_ = error.field if error.field.startswith(where) else f"{where}.{error.field}"
            raise InvalidInput(field_, error.problem, error.fix) from error

    def _message(self, where: str, given: Mapping[str, Any]) -> Message:
        said_role = given.get("role")
        role: Any = ROLES.get(str(said_role), said_role)
        if role != said_role:
            self.changes.append(f"{where}: the role {said_role} became {role}")
        parts, files = self._content(where, given)
        only_text = all(isinstance(part, TextPart) for part in parts) and len(parts) < 2
        return Message(
            role=role,
            content="".join(part.text for part in parts if isinstance(part, TextPart)) if only_text else "",
            parts=() if only_text else tuple(parts),
            attachments=files,
            tool_calls=self._calls(where, given),
            tool_call_id=self._answered(where, given) if role == "tool" else None,
            name=given.get("name"),
            reasoning=given.get("reasoning_content"),
            source=dict(SOURCE),
        )

    def _content(self, where: str, given: Mapping[str, Any]) -> tuple[list[Part], list[Attachment]]:
        content = given.get("content")
        if content is None:
            content = given.get("refusal") or ""
        parts: list[Part] = []
        files: list[Attachment] = []
        for place, item in enumerate([content] if isinstance(content, str) else _items("content", content)):
            try:
                parts.append(self._part(f"{where}.content[{place}]", item, files))
            except InvalidInput as error:
                raise InvalidInput(f"{where}.content[{place}]", error.problem, error.fix) from error
        return parts, files

    def _part(self, where: str, item: object, files: list[Attachment]) -> Part:
        match item:
            case str():
                return TextPart(self._clean(where, item))
            case {"type": "text" | "input_text" | "output_text", "text": str(text)}:
                return TextPart(self._clean(where, text))
            case {"type": "refusal", "refusal": str(text)}:
                return TextPart(self._clean(where, text))
            case {"type": "image_url", "image_url": {"url": str(url)} | str(url)}:
                return self._file(where, "image", url, files) if url.startswith("data:") else ImagePart(url)
            case {"type": "file", "file": {"filename": str(filename), "file_data": str(data)}}:
                return self._file(where, filename, data, files)
            case {"type": "text" | "input_text" | "output_text" | "refusal" | "image_url" as kind}:
                raise InvalidInput("content", f"is a {kind} without one", "pass its text, or its url")
            case {"type": str(kind)}:
                self.changes.append(
                    f"{where}: a part of type {kind} was left out; a note stands in its place"
                )
                return TextPart(f"[A part of type {kind} was not imported.]")
        raise InvalidInput("content", f"is {type(item).__name__}", "pass text or a list of parts")

    def _file(self, where: str, filename: str, url: str, files: list[Attachment]) -> FilePart:
        """What was written into the message becomes a file that hangs on it."""
        head, _, data = url.rpartition(",")
        media_type = head.removeprefix("data:").partition(";")[0] or None
        try:
            content = base64.b64decode(data, validate=True)
        except (binascii.Error, ValueError):
            raise InvalidInput("file", "is no base64", "pass data:<type>;base64,<bytes>") from None
        if filename == "image":
            kind = (media_type or "").removeprefix("image/")
            filename = f"image-{len(files) + 1}.{_ENDINGS.get(media_type or '', kind or 'bin')}"
        files.append(Attachment(filename=filename, content=content, mime_type=media_type))
        self.changes.append(f"{where}: its bytes became the attachment {filename}")
        return FilePart(filename)

    def _clean(self, where: str, text: str) -> str:
        clean = text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()
        if clean != text:
            self.changes.append(f"{where}: characters that no database stores were replaced")
        return clean

    def _calls(self, where: str, given: Mapping[str, Any]) -> tuple[ToolCall, ...]:
        calls = [
            self._call(f"{where}.tool_calls[{place}]", call)
            for place, call in enumerate(_items("tool_calls", given.get("tool_calls") or []))
        ]
        legacy = given.get("function_call")
        if legacy:
            id_ = f"call_{len(self._legacy)}_{where}"
            self.changes.append(f"{where}: its function_call became the tool call {id_}")
            calls.append(self._call(where, {"id": id_, "function": legacy}))
            self._legacy[calls[-1].name] = id_
        return tuple(calls)

    def _call(self, where: str, call: object) -> ToolCall:
        match call:
            case {"id": str(id_), "function": {"name": str(name), "arguments": str(arguments)}}:
                return ToolCall(id_, name, self._clean(where, arguments))
            case {"id": str(id_), "function": {"name": str(name), "arguments": Mapping() as values}}:
                self.changes.append(f"{where}: its arguments became text")
                return ToolCall(id_, name, json.dumps(values, default=dict))
            case {"id": str(id_), "custom": {"name": str(name), "input": str(text)}}:
                self.changes.append(f"{where}: its input became the argument `input`")
                return ToolCall(id_, name, json.dumps({"input": self._clean(where, text)}))
        raise InvalidInput(where, "is no tool call", "pass id and function with name and arguments")

    def _answered(self, where: str, given: Mapping[str, Any]) -> str:
        id_ = given.get("tool_call_id") or self._legacy.get(str(given.get("name")))
        if id_:
            return str(id_)
        # It answers nothing that is known: the repair leaves it out and says so.
        return where


def _items(field_: str, value: object) -> Sequence[object]:
    if not isinstance(value, list | tuple):
        raise InvalidInput(field_, f"is {type(value).__name__}", "pass a list")
    return value
