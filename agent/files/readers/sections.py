"""Text in sections, each behind a mark that says which page, sheet or slide it is, and what it does not show.

What stays true: no more is gathered than is asked for, in the time that there is; what a reader knows of and
does not show is counted.
"""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any

from conversation.storable_text import make_storable


class Unreadable(Exception):
    """A file cannot be read; the message is a sentence for the model."""


class TextSections:
    """The sections of one file, in their order."""

    def __init__(
        self,
        deadline: float,
        max_chars: int,
        *,
        ocr_languages: str = "",
        readers: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        """`deadline` is a time of `time.monotonic`; what is gathered by then is the result.

        `ocr_languages` are those that text in pictures is read in, as tesseract names them; "" reads none.
        `readers` are those of files within this one, by media type: what to call such a file, and its reader.
        """
        self._deadline = deadline
        self.max_chars = max_chars
        self.ocr_languages = ocr_languages
        self.readers = readers or {}
        #: How many files this one is within.
        self.depth = 0
        self._begin()

    def _begin(self) -> None:
        self._texts: list[str] = []
        self._length = 0
        self._remarks: dict[str, None] = {}
        self._left_out: Counter[str] = Counter()

    @property
    def is_full(self) -> bool:
        """Whether there is as much text as was asked for."""
        return self._length > self.max_chars

    @property
    def has_text(self) -> bool:
        """Whether there is any text so far."""
        return self._length > 0

    @property
    def is_late(self) -> bool:
        """Whether the time is over."""
        return time.monotonic() > self._deadline

    @property
    def seconds_left(self) -> float:
        """The time that is left."""
        return self._deadline - time.monotonic()

    @property
    def is_over(self) -> bool:
        """Whether to go on would be for nothing."""
        return self.is_full or self.is_late

    def add(self, mark: str, text: str) -> None:
        """Add a section, such as `page 3`; without a mark it stands by itself. An empty one is left out."""
        text = text.rstrip().lstrip("\n")  # the first line may begin with an empty cell
        if text:
            self._texts.append(f"--- {mark} ---\n{text}" if mark else text)
            self._length += len(self._texts[-1]) + 2

    def remark(self, sentence: str) -> None:
        """Have the model told something about the text, in a sentence; twice the same is said once."""
        self._remarks[sentence] = None

    def leave_out(self, kind: str, count: int = 1) -> None:
        """Count content that the text does not show, by its kind: `picture`, in the singular."""
        if count:
            self._left_out[kind] += count

    def open_inner(self) -> "TextSections":
        """Sections of a file within this one, in the time and the room that are left."""
        inner = copy(self)
        inner.max_chars, inner.depth = max(1, self.max_chars - self._length), self.depth + 1
        inner._begin()  # noqa: SLF001 - of its own class
        return inner

    def add_result(self, mark: str, result: Mapping[str, Any]) -> None:
        """Add a file within this one as a section, with what its reader said of it."""
        self.add("", "\n".join(filter(None, (f"--- {mark} ---", result["text"]))))
        for sentence in filter(None, (result.get("problem"), *result.get("remarks", ()))):
            self.remark(f"{mark[:1].upper()}{mark[1:]}: {sentence}")
        for kind, count in result.get("left_out", {}).items():
            self.leave_out(kind, count)

    def result(self, *, goes_on: bool = False, problem: str | None = None) -> dict[str, Any]:
        """The fields of an `Extracted`, as JSON values; `goes_on` where the file has more."""
        full_text = "\n\n".join(self._texts)
        text = make_storable(full_text[: self.max_chars])
        return {
            "text": text,
            "truncated": goes_on or len(full_text) > self.max_chars,
            "problem": problem,
            "remarks": list(self._remarks),
            "left_out": dict(self._left_out),
        }
