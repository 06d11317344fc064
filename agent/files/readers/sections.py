"""Text in sections, each behind a mark that says which page, sheet or slide it is.

What stays true: no more is gathered than is asked for, in the time that there is.
"""

import time
from typing import Any


class Unreadable(Exception):
    """This file cannot be read, for a reason that is a sentence for the model."""


class Sections:
    """The sections of one file, in their order."""

    def __init__(self, until: float, max_chars: int) -> None:
        """`until` is a time of `time.monotonic`; what is gathered by then is handed over."""
        self._until = until
        self.max_chars = max_chars
        self._texts: list[str] = []
        self._length = 0

    @property
    def is_full(self) -> bool:
        """Whether there is as much text as was asked for."""
        return self._length > self.max_chars

    @property
    def is_late(self) -> bool:
        """Whether the time is over."""
        return time.monotonic() > self._until

    @property
    def is_over(self) -> bool:
        """Whether to go on would be for nothing."""
        return self.is_full or self.is_late

    def add(self, mark: str, text: str) -> None:
        """One section, such as `page 3`; without a mark it stands by itself. An empty one is left out."""
        text = text.strip()
        if text:
            self._texts.append(f"--- {mark} ---\n{text}" if mark else text)
            self._length += len(self._texts[-1]) + 2

    def result(self, *, goes_on: bool = False, problem: str | None = None) -> dict[str, Any]:
        """What `Extracted` is made of; `goes_on` where the file has more."""
        whole = "\n\n".join(self._texts)
        text = whole[: self.max_chars].replace("\x00", "").encode("utf-8", "replace").decode("utf-8")
        return {"text": text, "truncated": goes_on or len(whole) > self.max_chars, "problem": problem}
