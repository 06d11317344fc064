"""A file made ready for models: its text, a picture of a size that they take, or why there is neither.

What stays true: the same bytes are made ready once, and whoever reads that later sees the same.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture that was made out of a file."""

    content: bytes = field(repr=False)
    media_type: str
    #: What is known of it without looking: `640 x 480 pixels`.
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What was made out of a file's bytes."""

    #: The text in it, whole or its beginning; of a picture, its size in pixels.
    text: str | None = None
    #: Why there is no text or picture, or not all of it, in a sentence for the model.
    problem: str | None = None
    #: What the model sees instead of the original; None where it sees the original or nothing.
    picture: Picture | None = None
    #: What people see in lists; None where the original will do.
    thumbnail: Picture | None = None
    #: Whether another try would come to the same: if not, it is not kept.
    is_final: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedFile:
    """What is kept of a stored file for models, without its text: that is long."""

    #: Characters of the text that is kept; 0 where there is none.
    text_chars: int = 0
    #: Of a picture that could be decoded: `640 x 480 pixels`.
    size_px: str | None = None
    #: As in `Prepared`.
    problem: str | None = None
    #: SHA-256 of the picture to show instead of the original; None shows the original.
    picture: str | None = None
    #: The media type of that picture.
    picture_type: str | None = None
    #: Its size in bytes.
    picture_size: int | None = None
    #: Why this file must not be shown or opened, in a sentence; None where it may.
    blocked: str | None = None


#: Makes a file ready, of its bytes and their media type. Raises nothing of the file's.
Prepare = Callable[[bytes, str], Awaitable[Prepared]]
