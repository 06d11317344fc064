"""The text of an .ods: its sheets in their order, as its program showed them, and what belongs to the workbook.

What stays true: rows are read one by one; what says that it is there a million times is there a few times; every
part of the file is shown, is known to hold no text, or is counted as left out.
"""

import re
from contextlib import suppress
from dataclasses import dataclass, field
from html import unescape
from typing import Any
from xml.etree.ElementTree import Element

from agent.files.readers.office.grid import FORMULAS, Grid, describe_hidden, name_sheets, remark_on_covered
from agent.files.readers.office.number_format import format_general
from agent.files.readers.office.properties import describe_open_properties
from agent.files.readers.office.zip_parts import DamagedPart, ZipParts
from agent.files.readers.open_document.sheet_notes import (
    count_other_parts,
    describe_names,
    describe_pages,
    describe_table,
    describe_validations,
    format_formula,
    read_part,
)
from agent.files.readers.open_document.sheet_objects import Objects, join_text
from agent.files.readers.sections import TextSections, Unreadable

#: How often a repeated cell or row that holds something is written.
REPEATED_MAX = 100

_ENCRYPTED = "The workbook is protected by a password; ask for a copy without one."
_DAMAGED = "The workbook could not be read: it is damaged or incomplete."
_LATE = "The workbook was read for as long as there was time; it goes on."
_BROKEN_OFF = "The workbook is damaged: it was read as far as it can be."
_SHEET_NAME = re.compile(rb'<table:table\s[^<>]*?table:name="([^"]*)"')
_CELLS = ("table-cell", "covered-table-cell")
_TIME = re.compile(r"(-?)PT(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)(?:[.,]\d+)?S)?")


@dataclass(slots=True)
class _Sheet:
    """One sheet while it is read."""

    table: Element
    grid: Grid = field(default_factory=Grid)
    row: int = 0
    hidden_rows: list[int] = field(default_factory=list)
    merged: list[tuple[tuple[int, int], tuple[int, int]]] = field(default_factory=list)
    #: Lines that follow the rows.
    notes: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The sheet's name on its tab."""
        return " ".join(self.table.get(":name", "").split())


def read(content: bytes, sections: TextSections) -> dict[str, Any]:
    """Read the text of an .ods. Raises `Unreadable`, and anything for a damaged archive."""
    parts = ZipParts(content)
    if "META-INF/manifest.xml" in parts and _is_encrypted(parts):
        raise Unreadable(_ENCRYPTED)
    return _Workbook(parts, sections).read()


def _is_encrypted(parts: ZipParts) -> bool:
    try:
        return next(parts.read_xml("META-INF/manifest.xml").iter("encryption-data"), None) is not None
    except DamagedPart:
        return False


class _Workbook:
    """One workbook while it is read."""

    def __init__(self, parts: ZipParts, sections: TextSections) -> None:
        self._parts, self._sections = parts, sections
        self._objects = Objects(parts, sections)
        self._goes_on = False
        self._formulas = 0
        self._empty_sheets: list[str] = []
        self._sheets_begun = 0
        self._root = Element("none")

    def read(self) -> dict[str, Any]:
        """Read all of it, as far as there is time."""
        try:
            self._read_sheets()
        except DamagedPart:
            if not self._sections.result()["text"]:
                raise Unreadable(_DAMAGED) from None
            self._sections.remark(_BROKEN_OFF)
        if self._empty_sheets:
            self._sections.remark(f"Without text: {name_sheets(self._empty_sheets)}.")
        self._sections.leave_out("formula", self._formulas)
        if self._goes_on:
            self._name_unread_sheets()
        else:
            meta = read_part(self._parts, self._sections, "meta.xml")
            for mark, lines in (
                ("input", describe_validations(self._root)),
                ("defined names", describe_names(self._root, self._sections)),
                ("pages", describe_pages(read_part(self._parts, self._sections, "styles.xml"), self._objects)),
                ("properties", describe_open_properties(meta, self._sections)),
            ):
                self._sections.add(mark, "\n".join(lines))
        count_other_parts(self._parts, self._sections, is_whole=not self._goes_on)
        problem = _LATE if self._goes_on and not self._sections.is_full else None
        return self._sections.result(goes_on=self._goes_on, problem=problem)

    def _read_sheets(self) -> None:
        sheet = None
        with self._parts.open_xml("content.xml", cut="table-row", heads=("table",)) as xml:
            try:
                for element in xml.elements():
                    self._root = xml.root if xml.root is not None else self._root
                    if element.tag == "table":
                        self._finish(sheet)
                        sheet = _Sheet(element) if element.get(":name") else None
                        self._sheets_begun += sheet is not None
                    elif sheet is not None:
                        self._read_row(sheet, element)
                        length = sheet.grid.length
                        self._goes_on = length > self._sections.max_chars or self._sections.is_late
                    self._goes_on = self._goes_on or (sheet is None and self._sections.is_over)
                    if self._goes_on:
                        break
                else:
                    self._root = xml.root if xml.root is not None else self._root
            finally:
                self._finish(sheet)

    def _name_unread_sheets(self) -> None:
        matches = self._parts.find_all("content.xml", _SHEET_NAME)
        with suppress(DamagedPart):
            names = [unescape(match[1].decode(errors="replace")) for match in matches][self._sheets_begun :]
            if names:
                self._sections.remark(f"Not read: {name_sheets(names)}.")

    def _finish(self, sheet: _Sheet | None) -> None:
        """Add a sheet whose rows are read."""
        if sheet is None:
            return
        for first, last in sheet.merged:
            if not self._sections.is_late and sheet.grid.cover(first, last):
                remark_on_covered(self._sections)
        shapes = [shape for group in sheet.table.iterfind("shapes") for shape in group]
        hidden = describe_hidden(self._sections, sheet.grid, sheet.hidden_rows, self._hidden_columns(sheet))
        controls = self._objects.describe_controls(sheet.table)
        notes = [
            *hidden,
            *sheet.notes,
            *self._objects.describe(shapes),
            *controls,
            *describe_table(sheet.table, self._sections),
        ]
        lines = [*sheet.grid.lines(), *([""] if sheet.grid.length and notes else []), *notes]
        if not any(lines):
            self._empty_sheets.append(sheet.name)
        mark = f'sheet "{sheet.name}"' + (" (hidden)" if self._is_hidden(sheet) else "")
        self._sections.add(mark, "\n".join(lines))

    def _read_row(self, sheet: _Sheet, row: Element) -> None:
        times = _count(row, ":number-rows-repeated")
        cells, column = dict[int, str](), 0
        for cell in row:
            if cell.tag not in _CELLS:
                continue
            repeated = _count(cell, ":number-columns-repeated")
            is_empty = not len(cell) and ":formula" not in cell.attrib and ":value-type" not in cell.attrib
            text = "" if is_empty else self._read_cell(sheet, cell)
            copies = min(repeated, REPEATED_MAX) if text else 0
            cells.update(dict.fromkeys(range(column + 1, column + copies + 1), text))
            self._sections.leave_out("repeated cell", repeated - copies if text else 0)
            width, height = _count(cell, ":number-columns-spanned"), _count(cell, ":number-rows-spanned")
            if width > 1 or height > 1:
                first = (sheet.row + 1, column + 1)
                sheet.merged.append((first, (first[0] + height - 1, first[1] + width - 1)))
            column += repeated
        copies = min(times, REPEATED_MAX) if cells else 0
        self._sections.leave_out("repeated row", times - copies if cells else 0)
        for number in range(sheet.row + 1, sheet.row + copies + 1):
            for place, text in cells.items():
                sheet.grid.put(number, place, text)
            if row.get(":visibility", "visible") != "visible":
                sheet.hidden_rows.append(number)
        sheet.row += times

    def _read_cell(self, sheet: _Sheet, cell: Element) -> str:
        pieces, notes, drawn = [], [], []
        for child in cell:
            if child.tag in ("p", "h", "list"):
                pieces.append(join_text(child))
                self._sections.leave_out("phonetic text", sum(1 for _ in child.iter("ruby-text")))
            elif child.tag == "annotation":
                notes.append(_describe_annotation(child))
            elif child.tag == "table":  # a cell that is divided into cells
                pieces.extend(join_text(text) for text in child.iter("p"))
            else:
                drawn.append(child)
        sheet.notes.extend(self._objects.describe(drawn))
        text = " ".join(filter(None, pieces)) or _format_value(cell)
        formula = cell.get(":formula", "")
        if formula and not text and not cell.get(":value-type"):
            self._sections.remark(FORMULAS)
            text = format_formula(formula)
        elif formula:
            self._formulas += 1
        return " ".join(filter(None, (text, *notes)))

    def _is_hidden(self, sheet: _Sheet) -> bool:
        style = sheet.table.get(":style-name")
        properties = (
            p for s in self._root.iter("style") if s.get(":name") == style for p in s.iter("table-properties")
        )
        return any(found.get(":display") == "false" for found in properties)

    def _hidden_columns(self, sheet: _Sheet) -> list[range]:
        spans, column = [], 1
        for element in sheet.table.iter("table-column"):
            times = _count(element, ":number-columns-repeated")
            if element.get(":visibility", "visible") != "visible":
                spans.append(range(column, column + times))
            column += times
        return spans


def _count(element: Element, key: str) -> int:
    value = element.get(key, "1")
    return max(int(value), 1) if value.isdecimal() else 1


def _describe_annotation(annotation: Element) -> str:
    author = " ".join((annotation.findtext("creator") or "").split())
    text = " ".join(filter(None, map(join_text, (child for child in annotation if child.tag in ("p", "list")))))
    return f"[comment by {author}: {text}]" if author else f"[comment: {text}]"


def _format_value(cell: Element) -> str:
    """Format the value of a cell whose program wrote no text for it."""
    kind, value = cell.get(":value-type", ""), cell.get(":value", "")
    if kind == "percentage" and value:
        return f"{format_general(f'{value}E2')}%"
    if kind == "currency" and value:
        return f"{format_general(value)} {cell.get(':currency', '')}".rstrip()
    if kind == "boolean":
        return cell.get(":boolean-value", "").upper()
    if kind == "date":
        return cell.get(":date-value", "").removesuffix("T00:00:00").replace("T", " ")
    if kind == "time":
        match = _TIME.match(cell.get(":time-value", ""))
        hours, minutes, seconds = (int(part or 0) for part in match.groups()[1:]) if match else (0, 0, 0)
        return f"{match[1]}{hours}:{minutes:02}:{seconds:02}" if match else cell.get(":time-value", "")
    return format_general(value) if value else cell.get(":string-value", "")
