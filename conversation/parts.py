"""Parts of a message: text, images by address, and files that hang on the message."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from conversation.arguments import take_items
from conversation.errors import InvalidInput
from conversation.filename import clean_filename
from conversation.quotation import quote
from conversation.validation import CONTENT_MAX_CHARS, check_text

#: Characters of an image's URL; a picture itself goes as an attachment, where it is stored once.
URL_MAX_CHARS = 2_000
#: Parts of one message.
PARTS_MAX = 1_000


@dataclass(frozen=True, slots=True)
class TextPart:
    """Some text."""

    text: str

    def to_json(self) -> dict[str, Any]:
        return {"type": "text", "text": self.text}


@dataclass(frozen=True, slots=True)
class ImagePart:
    """An image that the provider fetches by itself."""

    url: str

    def to_json(self) -> dict[str, Any]:
        return {"type": "image_url", "image_url": {"url": self.url}}


@dataclass(frozen=True, slots=True)
class FilePart:
    """A reference to an attachment of this message, at its position among the parts."""

    filename: str

    def to_json(self) -> dict[str, Any]:
        return {"type": "file", "file": {"filename": self.filename}}


Part = TextPart | ImagePart | FilePart
#: What a person says: text, or parts in their order, also as dicts of chat-completions requests.
Content = str | Sequence[Part | Mapping[str, Any] | str]


def parts_of(content: Iterable[object]) -> tuple[Part, ...]:
    """Parts out of a list of parts, of texts, or of dicts as chat-completions requests have them."""
    parts, chars = [], 0
    for item in take_items("content", content, PARTS_MAX):
        part = _parse_part(item)
        chars += len(part.text) if isinstance(part, TextPart) else 0
        if chars > CONTENT_MAX_CHARS:
            raise InvalidInput("content", f"has more than {CONTENT_MAX_CHARS} characters", "split the message")
        parts.append(part)
    return tuple(parts)


def text_of(parts: Iterable[Part]) -> str:
    """The readable text of the parts, a paragraph each."""
    return "\n\n".join(part.text for part in parts if isinstance(part, TextPart) and part.text)


def part_from_json(value: Mapping[str, Any]) -> Part:
    """One part. Raises `InvalidInput` for a kind that is not known."""
    match dict(value):
        case {"type": "text", "text": str(text)}:
            return TextPart(check_text("content.text", text))
        case {"type": "image_url", "image_url": {"url": str(url)}} | {"type": "image_url", "image_url": str(url)}:
            return ImagePart(_check_image_url(url))
        case {"type": "file", "file": {"filename": str(filename)}}:
            return FilePart(clean_filename("content.file.filename", filename))
        case {"type": kind}:
            raise InvalidInput("content.type", f"is {quote(kind)}", "use text, image_url or file, with their own keys")
    raise InvalidInput("content", "holds something without a type", "pass text or a list of parts")


def _parse_part(item: object) -> Part:
    if isinstance(item, TextPart | ImagePart | FilePart):
        return part_from_json(item.to_json())
    if isinstance(item, str):
        return TextPart(check_text("content.text", item))
    if isinstance(item, Mapping):
        return part_from_json(item)
    raise InvalidInput("content", f"holds a {type(item).__name__}", "pass text or a list of parts")


def _check_image_url(url: str) -> str:
    check_text("content.image_url", url, max_chars=URL_MAX_CHARS)
    if not url.lower().startswith(("http://", "https://")):
        raise InvalidInput(
            "content.image_url", "is no http address", "attach the picture itself: message.add_attachment(…)"
        )
    return url
