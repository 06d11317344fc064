"""A file prepared for models: its text, a picture of a size that they take, or the reason for neither.

What stays true: the same bytes are prepared once, and every later reader sees the same.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture that was rendered from a file."""

    content: bytes = field(repr=False)
    media_type: str
    #: What is known of it without looking: `640 x 480 pixels`.
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparationResult:
    """The result of preparing a file's bytes for models."""

    #: The text in it, whole or its beginning; of a picture, its size in pixels, and below it what OCR read in it.
    text: str | None = None
    #: What the model is told beside it, in sentences: why there is no text or picture, what is not shown,
    #: what was guessed.
    note: str | None = None
    #: The kinds of content that are in the file and not in its text, in the singular, and how many of each.
    left_out: Mapping[str, int] = field(default_factory=dict)
    #: What the model sees instead of the original; None where it sees the original or nothing.
    picture: Picture | None = None
    #: What people see in lists; None where the original will do.
    thumbnail: Picture | None = None
    #: Whether another try would give the same result: if not, it is not stored.
    is_final: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedFile:
    """The stored preparation of a file for models, without its text, which may be long."""

    #: Characters of the text that is stored; 0 where there is none, and for a picture that no OCR has read.
    text_chars: int = 0
    #: Of a picture that could be decoded: `640 x 480 pixels`.
    size_px: str | None = None
    #: As in `PreparationResult`.
    note: str | None = None
    #: As in `PreparationResult`.
    left_out: Mapping[str, int] = field(default_factory=dict)
    #: SHA-256 of the picture to show instead of the original; None shows the original.
    picture: str | None = None
    #: The media type of that picture.
    picture_type: str | None = None
    #: Its size in bytes.
    picture_size: int | None = None
    #: Why this file must not be shown or opened, in a sentence; None where it may.
    blocked_reason: str | None = None


#: A function that prepares a file, of its bytes and their media type. A bad file raises nothing.
Prepare = Callable[[bytes, str], Awaitable[PreparationResult]]
