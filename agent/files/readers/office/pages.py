"""The lines of a document, by the pages that they were on when it was last drawn.

What stays true: a document whose program did not write down where its pages ended has no marks; what was read
before the time or the memory was over is kept.
"""

from collections.abc import Iterable
from typing import Any

from agent.files.readers.sections import TextSections, Unreadable

#: Stands in a line where a page ended: no XML can have this character.
PAGE_BREAK = "\f"

_DAMAGED = "The document is damaged: some of its text may be missing."
_NOT_IN_TIME = "The document could not be read: it takes too much time."
_TOO_SLOW = "Only the beginning of the document was read: it takes too much time."
_TOO_LARGE = "Only the beginning of the document was read: it needs too much memory."


class Pages:
    """The lines of one document, of which the last page is still open."""

    def __init__(self, sections: TextSections) -> None:
        #: Whether the document has more lines than these.
        self.goes_on = False
        #: Why these are not all, in a sentence.
        self.problem: str | None = None
        #: Whether there was a line, be it an empty one.
        self.has_lines = False
        self._sections = sections
        self._lines: list[str] = []
        self._length = 0
        self._page = 1
        self._has_marks = False

    def fill(self, lines: Iterable[str]) -> None:
        """Add the lines of a document, as far as they are asked for, and end its last page."""
        try:
            for line in lines:
                self._add(line)
                self.goes_on = self._is_full or self._sections.is_late
                if self.goes_on:
                    break
        except MemoryError:
            if not self.has_lines:
                raise
            self.goes_on, self.problem = True, _TOO_LARGE
        self._finish()
        if self._sections.is_late:
            if not self.has_lines:
                raise Unreadable(_NOT_IN_TIME)
            self.goes_on, self.problem = True, _TOO_SLOW

    def check_damage(self, *, is_damaged: bool, has_body: bool) -> None:
        """Tell that the document is damaged. Raises `ValueError` where nothing is left of it."""
        is_damaged = is_damaged and not self.problem
        if not self.has_lines and (is_damaged or not has_body):
            raise ValueError("damaged")
        if is_damaged:
            self._sections.remark(_DAMAGED)

    def result(self) -> dict[str, Any]:
        """The fields of an `Extracted`, when all parts of the document are read as well."""
        is_late = self._sections.is_late
        if not (self._sections.result()["text"] or self.goes_on or is_late):
            self._sections.remark("The document holds no text.")
        problem = self.problem or (_TOO_SLOW if is_late else None)
        return self._sections.result(goes_on=self.goes_on or is_late, problem=problem)

    @property
    def _is_full(self) -> bool:
        return self._sections.is_full or self._length > self._sections.max_chars

    def _add(self, line: str) -> None:
        """Add a line, which may go over several pages."""
        self.has_lines = True
        first, *others = line.split(PAGE_BREAK)
        self._append(first, is_blank=not others)
        for other in others:
            self._end_page()
            self._append(other, is_blank=False)

    def _append(self, line: str, *, is_blank: bool) -> None:
        if line.strip() or (is_blank and self._lines and self._lines[-1]):
            self._lines.append(line if line.strip() else "")
            self._length += len(line) + 1

    def _end_page(self) -> None:
        self._has_marks = True
        self._finish()
        self._page, self._lines, self._length = self._page + 1, [], 0

    def _finish(self) -> None:
        self._sections.add(f"page {self._page}" if self._has_marks else "", "\n".join(self._lines).strip())
