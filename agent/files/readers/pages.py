"""The lines of a document, by the pages that they were on when it was last drawn.

What stays true: a document whose program did not write down where its pages ended has no marks.
"""

from agent.files.readers.sections import TextSections

#: Stands in a line where a page ended: no XML can have this character.
PAGE_BREAK = "\f"


class Pages:
    """The lines of one document, of which the last page is still open."""

    def __init__(self, sections: TextSections) -> None:
        self._sections = sections
        self._lines: list[str] = []
        self._length = 0
        self._page = 1
        self._has_marks = False

    @property
    def is_full(self) -> bool:
        """Whether there is as much text as was asked for."""
        return self._sections.is_full or self._length > self._sections.max_chars

    def add(self, line: str) -> None:
        """Add a line, which may go over several pages."""
        first, *others = line.split(PAGE_BREAK)
        self._append(first, is_blank=not others)
        for other in others:
            self._end_page()
            self._append(other, is_blank=False)

    def finish(self) -> None:
        """End the last page."""
        self._sections.add(f"page {self._page}" if self._has_marks else "", "\n".join(self._lines))

    def _append(self, line: str, *, is_blank: bool) -> None:
        if line.strip() or (is_blank and self._lines and self._lines[-1]):
            self._lines.append(line if line.strip() else "")
            self._length += len(line) + 1

    def _end_page(self) -> None:
        self._has_marks = True
        self.finish()
        self._page, self._lines, self._length = self._page + 1, [], 0
