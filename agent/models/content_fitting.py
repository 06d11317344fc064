"""The content of one message, fitted to a provider: nothing empty, and no kind of part that it does not take.

What stays true: a part that is left out has a line in its place, so that the model knows of it.
"""

from collections.abc import Mapping
from typing import Any

from agent.models.profiles import ProviderProfile

#: Stand where a provider refuses a message without text.
NO_TEXT = "[This message has no text.]"
NO_OUTPUT = "[The tool gave no output.]"
#: Stand where a part was.
NO_PICTURE = "[A picture: you cannot see it; people can.]"
NO_SOUND = "[Sound: you cannot hear it; people can.]"
UNREACHABLE_PICTURE = "[A picture that can no longer be opened at its address.]"

_MEDIA_LINES = {"image_url": NO_PICTURE, "input_audio": NO_SOUND}


def fit_content(message: dict[str, Any], profile: ProviderProfile) -> dict[str, Any] | None:
    """The message with content that the provider takes; None for one that says nothing."""
    role, content = message["role"], message.get("content")
    if isinstance(content, list | tuple):
        content = _fit_parts(content, profile)
    if profile.refuses_empty and not _says_anything(content):
        if role == "system" or (role == "assistant" and not message.get("tool_calls")):
            return None
        content = {"user": NO_TEXT, "tool": NO_OUTPUT}.get(role)
    if role == "assistant" and not content:
        content = None if message.get("tool_calls") else ""
    return message if "content" in message and content is message["content"] else {**message, "content": content}


def join_content(first: Any, second: Any) -> Any:
    """The contents of two messages as one: texts as paragraphs, anything else as a list of parts."""
    if not first or not second:
        return first or second
    if isinstance(first, str) and isinstance(second, str):
        return f"{first}\n\n{second}"
    return [*_as_parts(first), *_as_parts(second)]


def drop_addresses(message: Mapping[str, Any], addresses: frozenset[str]) -> dict[str, Any]:
    """The message with a line in place of each picture at one of these addresses."""
    content = message.get("content")
    if not isinstance(content, list | tuple):
        return dict(message)
    parts = [text_line(UNREACHABLE_PICTURE) if address_of(part) in addresses else part for part in content]
    return {**message, "content": parts}


def address_of(part: Mapping[str, Any]) -> str | None:
    """The address of a picture that the provider fetches by itself; None for any other part."""
    url = str(part["image_url"]["url"]) if part.get("type") == "image_url" else "data:"
    return None if url.startswith("data:") else url


def text_line(text: str) -> dict[str, Any]:
    """A part that is a line of text."""
    return {"type": "text", "text": text}


def _fit_parts(content: Any, profile: ProviderProfile) -> Any:
    allowed_media = {"image_url": profile.pictures, "input_audio": profile.sound}
    parts = [
        dict(part) if allowed_media.get(part["type"], True) else text_line(_MEDIA_LINES[part["type"]])
        for part in content
    ]
    if profile.refuses_empty:
        parts = [part for part in parts if part["type"] != "text" or str(part.get("text") or "").strip()]
    if not profile.text_lists and all(part["type"] == "text" for part in parts):
        return "\n\n".join(str(part["text"]) for part in parts)
    return parts


def _says_anything(content: Any) -> bool:
    return bool(content.strip() if isinstance(content, str) else content)


def _as_parts(content: Any) -> list[Any]:
    return [text_line(content)] if isinstance(content, str) else list(content)
