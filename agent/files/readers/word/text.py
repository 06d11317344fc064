"""The text of one part of a Word document: its body, a header, the notes.

What stays true: an element that is not known shows what is in it; tracked changes are read as if they were
accepted; what a reader of the document does not see is counted, not shown.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from agent.files.readers.office.equation import linearize_equation
from agent.files.readers.office.package import Relationship
from agent.files.readers.office.pages import PAGE_BREAK
from agent.files.readers.office.remarks import CHANGES, HIDDEN
from agent.files.readers.office.xml_names import (
    attribute_of,
    child_of,
    descendants_of,
    is_on,
    name_of,
    parse_number,
    value_of,
)
from agent.files.readers.word.drawings import DRAWING_HANDLERS, read_inserted_file
from agent.files.readers.word.fields import Fields
from agent.files.readers.word.runs import RUN_HANDLERS, fill_control
from agent.files.readers.word.walk import WordDocument

#: What a part is read by: paragraphs, rows of tables, and what may stand between them.
_UNITS = ("p", "tr", "altChunk", "oMathPara", "oMath")
_UNIT_NAMES = ("w:p", "w:tr", "w:altChunk", "m:oMathPara", "m:oMath")
_PROPERTIES = ("w:tblPr", "w:sdtPr")


class WordText:
    """A walk through one part, which remembers the fields that are open."""

    def __init__(self, document: WordDocument, part: str) -> None:
        self.document = document
        self.sections = document.sections
        self.part = part
        self.fields = Fields(document.sections)
        #: How often something was shown or counted, by which an alternative without anything is known.
        self.gain = 0
        #: The alternative texts that the drawing at hand has had.
        self.alternative_texts: set[str] = set()
        #: What the paragraph at hand shows so far.
        self.pieces: list[str] = []
        #: The font of the run at hand.
        self.font = ""
        #: Whether readers of the document do not see what stands here.
        self.is_hidden = False
        self._has_hidden_text = False
        self._boxes: list[str] = []
        self._relationships: Mapping[str, Relationship] | None = None

    def read(self) -> Iterator[str]:
        """Yield the lines of the part, each row of a table one, with a `PAGE_BREAK` where a page ended."""
        for event, element in self.document.package.stream(self.part, _UNITS, others=("tblPr", "sdtPr")):
            if name_of(element) in _PROPERTIES:
                yield from self._read_properties(element) if event == "end" else ()
            elif not any(map(_is_unused, element.iterancestors())):
                yield from self._read_unit(element)
        yield from filter(None, [self.fields.finish_paragraph()])

    def read_note(self, element: Any) -> Iterator[str]:
        """Yield the lines of a note or comment."""
        for properties in descendants_of(element, *_PROPERTIES):
            yield from self._read_properties(properties)
        yield from self.read_blocks(element)

    def read_blocks(self, element: Any) -> Iterator[str]:
        """Yield the lines of the paragraphs and tables in an element."""
        for child in element:
            name = name_of(child)
            if name in _UNIT_NAMES:
                yield from self._read_unit(child)
            elif name == "mc:AlternateContent":
                yield from self._choose(child, lambda choice: list(self.read_blocks(choice))) or ()
            elif name not in _SKIPPED:
                yield from self.read_blocks(child)

    def walk(self, element: Any) -> None:
        """Take what an element shows into the paragraph at hand."""
        for child in element:
            name = name_of(child)
            if name == "mc:AlternateContent":
                self._choose(child, self.walk)
                continue
            handler = _HANDLERS.get(name, WordText.walk)
            if handler is not None:
                handler(self, child)

    def emit(self, text: str) -> None:
        """Add text to the paragraph at hand, if it is one that is seen."""
        if self.is_hidden:
            self._has_hidden_text = self._has_hidden_text or bool(text.strip())
        elif self.fields.is_in_instruction:
            self.fields.collect(text)
        elif text:
            self.pieces.append(text)
            self.fields.note_result()
            self.gain += 1

    def add_box(self, line: str) -> None:
        """Add a line that stands beside the paragraph at hand: of a text box, of a chart."""
        if line.strip():
            self._boxes.append(line.replace(PAGE_BREAK, " "))
            self.gain += 1

    def leave_out(self, kind: str, count: int = 1) -> None:
        """Count what is not shown."""
        self.sections.leave_out(kind, count)
        self.gain += bool(count)

    def count_hidden(self) -> None:
        """Count a passage that is hidden, if there was one."""
        if self._has_hidden_text:
            self.leave_out("hidden passage")
            self.sections.remark(HIDDEN)
            self._has_hidden_text = False

    def relationship_of(self, element: Any, attribute: str = "id") -> Relationship | None:
        """The relationship that an element names by its id; None for one that is missing."""
        if self._relationships is None:
            self._relationships = self.document.package.relationships_of(self.part)
        return self._relationships.get(attribute_of(element, attribute))

    def _read_unit(self, element: Any) -> Iterator[str]:
        name = name_of(element)
        if name == "w:tr":
            yield from self._read_row(element)
        elif name == "w:altChunk":
            yield from read_inserted_file(self, element)
        else:
            yield from self._read_paragraph(element)

    def _read_properties(self, element: Any) -> Iterator[str]:
        """Read the title of a table, and count the names and choices of a content control."""
        if any(map(_is_unused, element.iterancestors())):
            return
        words = [value_of(element, "w:tblCaption"), value_of(element, "w:tblDescription")]
        if any(words):
            yield f"[table: {'. '.join(filter(None, words))}]"
        self.sections.leave_out("content control name", bool(value_of(element, "w:alias")))
        for choices in descendants_of(element, "w:dropDownList", "w:comboBox"):
            self.sections.leave_out("list choice", sum(name_of(child) == "w:listItem" for child in choices))

    def _read_paragraph(self, element: Any) -> Iterator[str]:
        outer = self.pieces, self._boxes, self.is_hidden, self.font
        self.pieces, self._boxes = [], []
        properties = child_of(element, "w:pPr")
        style = value_of(properties, "w:pStyle") if properties is not None else ""
        self.is_hidden = self.is_hidden or self.document.styles.is_hidden(style)
        self.walk([element] if name_of(element) == "m:oMath" else element)
        self.count_hidden()
        text = " ".join(filter(None, ["".join(self.pieces), self.fields.finish_paragraph()]))
        boxes = self._boxes
        self.pieces, self._boxes, self.is_hidden, self.font = outer
        prefix = self._prefix(style, properties)
        control = _control_of(element)
        if control is not None:
            text = fill_control(self, control, text)
        lead = PAGE_BREAK if text.startswith(PAGE_BREAK) else ""
        if text or not boxes:
            yield f"{lead}{prefix if text.strip() else ''}{text[len(lead) :]}"
        yield from boxes

    def _prefix(self, style: str, properties: Any) -> str:
        """The beginning of a paragraph: the Markdown mark of a heading, the number of a list."""
        level = self.document.styles.heading_level(style, properties)
        list_id, list_level = self.document.styles.list_of(style)
        numbers = child_of(properties, "w:numPr") if properties is not None else None
        if numbers is not None:
            list_id = value_of(numbers, "w:numId") or list_id
            list_level = parse_number(value_of(numbers, "w:ilvl") or str(list_level)) or 0
        mark = self.document.lists.mark_of(list_id, list_level) if list_id else ""
        return f"{'#' * min(level, 6)} {mark.lstrip()}" if level else mark

    def _read_row(self, element: Any) -> Iterator[str]:
        """Read a row of a table as a line, if it is one that is seen."""
        properties = child_of(element, "w:trPr")
        for name, kind, remark in (("w:del", "deleted passage", CHANGES), ("w:hidden", "hidden passage", HIDDEN)):
            switch = child_of(properties, name) if properties is not None else None
            if is_on(switch):
                self.leave_out(kind)
                self.sections.remark(remark)
                return
        if properties is not None and child_of(properties, "w:ins") is not None:
            self.sections.remark(CHANGES)
        cells = ["\n".join(self._read_cell(cell)) for cell in _cells(element)]
        breaks = max((cell.count(PAGE_BREAK) for cell in cells), default=0)
        lead = PAGE_BREAK if any(cell.lstrip("\n ").startswith(PAGE_BREAK) for cell in cells) else ""
        line = " | ".join(" ".join(cell.split()) for cell in cells)
        yield f"{lead}{line}{PAGE_BREAK * (breaks - len(lead))}"

    def _read_cell(self, element: Any) -> Iterator[str]:
        properties = child_of(element, "w:tcPr")
        if properties is not None and child_of(properties, "w:cellDel") is not None:
            self.leave_out("deleted passage")
            self.sections.remark(CHANGES)
            return
        for child in element:
            name = name_of(child)
            if name == "w:tbl":
                yield f"[{'; '.join(' '.join(line.split()) for line in self.read_blocks(child))}]"
            elif name in ("w:sdt", "w:sdtContent", "w:customXml"):
                yield from self._read_cell(child)
            elif name not in _SKIPPED:
                yield from self.read_blocks([child])

    def _choose(self, element: Any, render: Callable[[Any], Any]) -> Any:
        """Render the first of several alternatives that shows something."""
        for choice in element:
            gain = self.gain
            result = render(choice)
            if self.gain > gain:
                return result
        return None


def _cells(row: Any) -> Iterator[Any]:
    for child in row:
        if name_of(child) == "w:tc":
            yield child
        elif name_of(child) not in _SKIPPED:
            yield from _cells(child)


def _is_unused(ancestor: Any) -> bool:
    """Whether an element stands in the second of two alternatives."""
    return name_of(ancestor) == "mc:Fallback" and ancestor.getprevious() is not None


def _control_of(element: Any) -> Any:
    """The content control that a paragraph is the whole content of; None for others."""
    parent = element.getparent()
    if parent is None or name_of(parent) != "w:sdtContent" or len(parent) > 1:
        return None
    return parent.getparent()


def _take_equation(text: WordText, element: Any) -> None:
    text.emit(linearize_equation(element))


#: By the name of an element: what to do with it; None to skip it. Others show what is in them.
_HANDLERS: Mapping[str, Callable[[WordText, Any], None] | None] = {
    **dict.fromkeys(
        ("w:pPr", "w:rPr", "w:tblPr", "w:tblGrid", "w:tcPr", "w:trPr", "w:sectPr", "w:sdtPr", "w:sdtEndPr")
    ),
    **dict.fromkeys(("w:customXmlPr", "w:smartTagPr", "w:tblPrEx", "w:delText", "w:delInstrText", "w:fldData")),
    **RUN_HANDLERS,
    **DRAWING_HANDLERS,
    "m:oMath": _take_equation,
}
_SKIPPED = frozenset(name for name, handler in _HANDLERS.items() if handler is None)
