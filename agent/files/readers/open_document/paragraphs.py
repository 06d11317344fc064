"""The text of one part of an OpenDocument text: its body, or the headers among its styles.

What stays true: an element that is not known shows what is in it; tracked changes are read as if they were
accepted; what a reader of the document does not see is counted, not shown.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from agent.files.readers.office.package import Package
from agent.files.readers.office.pages import PAGE_BREAK
from agent.files.readers.office.remarks import CHANGES, FAINT, HIDDEN
from agent.files.readers.office.xml_names import attribute_of, descendants_of, name_of, parse_number
from agent.files.readers.open_document.fields import FIELD_HANDLERS, REPEATED_MAX
from agent.files.readers.open_document.frames import DRAWING_HANDLERS, FRAME_HANDLERS
from agent.files.readers.open_document.styles import OpenLists, OpenStyles
from agent.files.readers.open_document.walk import OpenNotes
from agent.files.readers.sections import TextSections

_SPACE = re.compile(r"[ \t\r\n]+")


class OpenParagraphs:
    """A walk through one part, which remembers the lists that are open."""

    def __init__(self, package: Package, styles: OpenStyles, notes: OpenNotes) -> None:
        self.package = package
        self.sections: TextSections = package.sections
        self.styles = styles
        self.lists = OpenLists(styles)
        self.notes = notes
        self.pieces: list[str] = []
        self._boxes: list[str] = []
        self._is_hidden = False

    def read_blocks(self, element: Any) -> Iterator[str]:
        """Yield the lines of the paragraphs, lists and tables in an element."""
        for child in element:
            name = name_of(child)
            if name in _BLOCKS or name in DRAWING_HANDLERS:
                yield from self.read_block(child)
            elif name == "text:list":
                self.lists.begin_list(child)
                yield from self.read_blocks(child)
                self.lists.end_list()
            elif name in ("text:list-item", "text:list-header"):
                self.lists.begin_item(child)
                yield from self.read_blocks(child)
            elif name == "text:tracked-changes":
                self.count_deletions(child)
            elif name in ("table:title", "table:desc"):
                yield f"[table: {''.join(child.itertext())}]"
            elif is_hidden_part(child):
                self.count_hidden("".join(child.itertext()))
            elif name not in _SKIPPED:
                yield from self.read_blocks(child)

    def read_block(self, element: Any) -> Iterator[str]:
        """Yield the lines of a paragraph, of a row of a table, or of a drawing between paragraphs."""
        if name_of(element) == "table:table-row":
            yield from self._read_row(element)
        else:
            yield from self._read_paragraph(element)

    def walk(self, element: Any) -> None:
        """Take what an element shows into the paragraph at hand."""
        for child in element:
            name = name_of(child)
            handler = _HANDLERS.get(name, OpenParagraphs.take)
            if handler is not None:
                handler(self, child)
            self.emit_spaced(child.tail)

    def emit(self, text: str) -> None:
        """Add text to the paragraph at hand, if it is one that is seen."""
        if self._is_hidden:
            self.count_hidden(text)
        elif text:
            self.pieces.append(text)

    def note_style(self, style: str, text: str) -> None:
        """Tell of text that a person does not see."""
        if self.styles.is_faint(style) and text.strip():
            self.sections.remark(FAINT)

    def emit_spaced(self, text: str | None) -> None:
        """Add text as it stands in the XML, where one space is as good as many."""
        if text:
            self.emit(_SPACE.sub(" ", text))

    def add_box(self, line: str) -> None:
        """Add a line that stands beside the paragraph at hand: of a text box, of a chart."""
        if line.strip():
            self._boxes.append(line.replace(PAGE_BREAK, " "))

    def count_hidden(self, text: str) -> None:
        """Count a passage that is hidden, if there is text in it."""
        if text.strip():
            self.sections.leave_out("hidden passage")
            self.sections.remark(HIDDEN)

    def count_deletions(self, element: Any) -> None:
        """Count the passages that were deleted while changes were tracked."""
        self.note_changes(element)
        for deletion in descendants_of(element, "text:deletion"):
            paragraphs = descendants_of(deletion, "text:p", "text:h")
            has_text = any("".join(paragraph.itertext()).strip() for paragraph in paragraphs)
            self.sections.leave_out("deleted passage", has_text)

    def note_changes(self, element: Any) -> None:
        """Tell of changes, if some were tracked."""
        if len(element):
            self.sections.remark(CHANGES)

    def read_aside(self, element: Any) -> list[str]:
        """Read what stands beside a paragraph, whose lists go on behind it."""
        lists, self.lists = self.lists, OpenLists(self.styles)
        lines = list(self.read_blocks(element))
        self.lists = lists
        return lines

    def take(self, element: Any) -> None:
        """Take an element with what is in it, unless it is hidden."""
        is_hidden = self._is_hidden
        if name_of(element) in _DISPLAYED and is_hidden_part(element):
            self._is_hidden = True
        elif name_of(element) == "text:span":
            self._is_hidden = is_hidden or self.styles.is_hidden(attribute_of(element, "style-name"))
            self.note_style(attribute_of(element, "style-name"), "".join(element.itertext()))
        self.emit_spaced(element.text)
        self.walk(element)
        self._is_hidden = is_hidden

    def _read_paragraph(self, element: Any) -> Iterator[str]:
        outer = self.pieces, self._boxes, self._is_hidden
        self.pieces, self._boxes = [], []
        style = attribute_of(element, "style-name")
        self._is_hidden = self._is_hidden or self.styles.is_hidden(style) or any(
            attribute_of(mark, "is-hidden") == "true" for mark in descendants_of(element, "text:hidden-paragraph")
        )  # fmt: skip
        if name_of(element) in DRAWING_HANDLERS:
            self.walk([element])
        else:
            self.emit_spaced(element.text)
            self.walk(element)
        text, boxes = "".join(self.pieces), self._boxes
        self.note_style(style, text)
        self.pieces, self._boxes, self._is_hidden = outer
        if text or not boxes:
            prefix = self._prefix(element) if text.strip() else ""
            lead = PAGE_BREAK if text.startswith(PAGE_BREAK) else ""
            yield f"{lead}{prefix}{text[len(lead) :]}"
        yield from boxes

    def _prefix(self, element: Any) -> str:
        if name_of(element) != "text:h":
            return self.lists.take_mark()
        level = parse_number(attribute_of(element, "outline-level") or "1") or 1
        number = "" if attribute_of(element, "is-list-header") == "true" else self.lists.count_heading(level)
        return f"{'#' * min(level, 6)} {self.lists.take_mark().strip() or number}".rstrip() + " "

    def _read_row(self, element: Any) -> Iterator[str]:
        if attribute_of(element, "visibility") in ("collapse", "filter"):
            self.count_hidden("".join(element.itertext()))
            return
        cells: list[str] = []
        breaks = 0
        for cell in element:
            lines = "\n".join(self._read_cell(cell))
            breaks = max(breaks, lines.count(PAGE_BREAK))
            text = " ".join(lines.split())
            if name_of(cell) == "table:covered-table-cell":
                self.count_hidden(text)
            elif name_of(cell) == "table:table-cell":
                times = parse_number(attribute_of(cell, "number-columns-repeated") or "1") or 1
                cells.extend([text] * min(times, REPEATED_MAX))
        yield " | ".join(cells) + PAGE_BREAK * breaks

    def _read_cell(self, element: Any) -> Iterator[str]:
        for child in element:
            if name_of(child) == "table:table":
                yield f"[{'; '.join(' '.join(line.split()) for line in self.read_blocks(child))}]"
            else:
                yield from self.read_blocks([child])


def is_hidden_part(element: Any) -> bool:
    """Whether an element says of itself that it is not seen."""
    display = attribute_of(element, "display")
    return display == "none" or (display == "condition" and attribute_of(element, "is-hidden") == "true")


_BLOCKS = ("text:p", "text:h", "table:table-row")
#: What may say of itself that it is not seen.
_DISPLAYED = (
    "text:variable-set",
    "text:variable-input",
    "text:user-field-get",
    "text:user-field-input",
    "text:expression",
)
#: By the name of an element: what to do with it; None to skip it. Others show what is in them.
_HANDLERS: Mapping[str, Callable[[OpenParagraphs, Any], None] | None] = {
    **dict.fromkeys(("office:binary-data", "office:event-listeners", "office:forms", "svg:title", "svg:desc")),
    **dict.fromkeys(("table:table-column", "table:table-source", "text:section-source", "dc:creator", "dc:date")),
    **dict.fromkeys(f"text:{name}-source" for name in ("table-of-content", "illustration-index", "table-index")),
    **dict.fromkeys(
        f"text:{name}-source" for name in ("object-index", "user-index", "alphabetical-index", "bibliography")
    ),
    **FIELD_HANDLERS,
    **FRAME_HANDLERS,
    **DRAWING_HANDLERS,
}
_SKIPPED = frozenset(name for name, handler in _HANDLERS.items() if handler is None)
