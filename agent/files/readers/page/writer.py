"""The lines of a page, written while its tree is walked: their order is the one of the page.

What stays true: the walk is no recursion, so that no depth of a page ends it; it stops where there is text enough or
the time is over, and says so.
"""

from collections.abc import Callable
from typing import Any

from agent.files.readers.page.elements import (
    BLOCKS,
    ENDS,
    KEEPING,
    MEDIA,
    STARTS,
    count_attributes,
    has_text,
    replace_element,
)
from agent.files.readers.page.hidden_text import HiddenText
from agent.files.readers.page.lines import KEPT_SPACE, KEPT_TAB, Lines, Mark, Row
from agent.files.readers.sections import TextSections

#: Documents within documents that are read.
_DEPTH_MAX = 3
#: Elements after which the time is asked for.
_CLOCK_EVERY = 500
#: Attributes that name what has no text, and what they are called where they are not shown.
_LABELS = {"aria-label": "aria label", "title": "tooltip"}

Render = Callable[..., str]


class PageWriter:
    """The text of one page."""

    def __init__(self, sections: TextSections, *, depth: int, is_book: bool, render: Render) -> None:
        """`render` is for documents within this one, which is itself within `depth` others."""
        self._sections = sections
        self._depth, self._is_book, self._render = depth, is_book, render
        #: Of the page, and of each cell that is open.
        self._lines = [Lines()]
        self._rows: list[Row] = []
        #: Of each open table: for how many rows its columns are taken.
        self._taken: list[dict[int, int]] = []
        self._keeping = 0
        #: Of each open element: where its text began; None where it is not shown.
        self._marks: list[Mark | None] = []
        #: Of each open cell: whether it stands in a row.
        self._cells: list[bool] = []

    def write(self, tree: Any) -> str:
        """Write all that is in a tree."""
        from lxml import etree

        self._hidden = HiddenText(tree, is_book=self._is_book)
        walk = etree.iterwalk(tree, events=("start", "end", "comment"))
        for number, (event, element) in enumerate(walk):
            if event == "comment":
                self._sections.leave_out("source comment", bool((element.text or "").strip()))
                self._write(element.tail)
            elif event == "start":
                self._start(element, walk)
            else:
                self._end(element)
            if not (number + 1) % _CLOCK_EVERY and self._is_over():
                break
        while len(self._lines) > 1:
            self._lines[-2].write(" ".join(self._lines.pop().finish()))
        return "\n".join(self._lines[0].finish()).strip("\n")

    def _is_over(self) -> bool:
        if self._sections.is_late:
            self._sections.remark("Only the beginning of a page was read: it takes too much time.")
        return self._sections.is_late or self._lines[0].length > self._sections.max_chars

    def _start(self, element: Any, walk: Any) -> None:
        tag, lines = element.tag, self._lines[-1]
        if self._leave_out(element):
            self._marks.append(None)
            walk.skip_subtree()
            return
        if tag in BLOCKS:
            lines.end_line()
        self._marks.append(lines.mark())
        count_attributes(element, self._sections)
        if tag in STARTS:
            STARTS[tag](element, lines, self._sections)
        elif tag in ("table", "tr", "td", "th"):
            self._start_table(element)
        if tag in KEEPING:
            self._keeping += 1
        self._write(element.text)

    def _end(self, element: Any) -> None:
        tag, mark = element.tag, self._marks.pop()
        if mark is not None:
            if tag in KEEPING:
                self._keeping -= 1
            if tag in ("table", "tr", "td", "th"):
                self._end_table(element)
            lines = self._lines[-1]
            if tag in ENDS:
                ENDS[tag](element, lines, mark, self._sections)
            self._label(element, lines, mark)
            if tag in BLOCKS:
                lines.end_line()
        self._write(element.tail)

    def _leave_out(self, element: Any) -> bool:
        """Whether an element is not walked, since it is hidden, no text, or shown as something else."""
        if self._hidden.has(element):
            self._sections.leave_out("hidden passage", has_text(element))
            return True
        if element.tag in ("iframe", "frame"):
            self._write_frame(element)
            return True
        return replace_element(element, self._lines[-1], self._sections)

    def _write_frame(self, element: Any) -> None:
        markup, address = element.get("srcdoc"), (element.get("src") or "").strip()
        lines = self._lines[-1]
        if markup and self._depth < _DEPTH_MAX:
            lines.end_line()
            for line in self._render(markup, self._sections, depth=self._depth + 1).splitlines():
                lines.add(line)
            return
        self._sections.leave_out("embedded page")
        is_address = not address.startswith(("data:", "about:", "javascript:"))
        words = filter(None, [element.get("title") or element.get("aria-label"), is_address and address[:300]])
        if text := ", ".join(words):
            lines.write(f" [Embedded page: {text}] ")

    def _start_table(self, element: Any) -> None:
        if element.tag == "table":
            self._taken.append({})
        elif element.tag == "tr":
            self._rows.append(Row(self._taken[-1] if self._taken else {}))
        else:
            self._cells.append(bool(self._rows))
            if self._rows:
                self._lines.append(Lines())
            else:
                self._lines[-1].end_line()

    def _end_table(self, element: Any) -> None:
        if element.tag == "table":
            self._taken.pop()
        elif element.tag == "tr":
            for line in self._rows.pop().compose():
                self._lines[-1].add(line)
        elif self._cells.pop():
            self._rows[-1].add(self._lines.pop().finish(), element.get("colspan"), element.get("rowspan"))
        else:
            self._lines[-1].end_line()

    def _label(self, element: Any, lines: Lines, mark: Mark) -> None:
        """Write the name of an element that has no text, such as a link with an icon; count it for others."""
        for attribute, kind in _LABELS.items():
            name = " ".join((element.get(attribute) or "").split())
            if not name or element.tag in MEDIA:
                continue
            text = lines.since(mark)
            if text == "" and element.tag not in BLOCKS and element.tag != "link":
                lines.replace(mark, f" {name} ")
            elif name not in (text or ""):
                self._sections.leave_out(kind)

    def _write(self, text: str | None) -> None:
        if not text:
            return
        lines = self._lines[-1]
        if not self._keeping:
            lines.write(text)
            return
        for number, line in enumerate(text.replace("\r\n", "\n").split("\n")):
            if number:
                lines.end_line(keep_empty=True)
            lines.write(line.replace(" ", KEPT_SPACE).replace("\t", KEPT_TAB))
