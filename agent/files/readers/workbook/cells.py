"""The cells of an .xlsx's sheets: values as a person sees them, and formulas where no value was stored.

What stays true: rows are read one by one, so that a sheet of any size takes the memory of what is shown of it; damage
costs what follows it in its sheet, and nothing else.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element

from agent.files.readers.office.grid import FORMULAS, Grid, number_column
from agent.files.readers.office.number_format import BUILT_IN_CODES, NumberFormat, format_general
from agent.files.readers.office.zip_parts import DamagedPart
from agent.files.readers.workbook.parts import Book, is_true
from agent.files.readers.workbook.strings import join_runs, unescape

#: A cell or row that has a place and a look, and no content.
_EMPTY = re.compile(rb'<(?:c|row) r="[A-Z]*[0-9]+"[^<>/]*/>')
_REFERENCE = re.compile(r"\$?([A-Za-z]{1,3})\$?(\d+)")
#: What programs put before the names of functions that are newer than the format.
_FUNCTION_PREFIX = re.compile(r"_xl(?:fn|ws|pm|udf)\.")


@dataclass(slots=True)
class SheetCells:
    """The cells of one sheet, as far as they were read."""

    grid: Grid
    #: The sheet without its rows, as far as it was read; None where nothing was.
    root: Element | None = None
    #: Those that have text.
    hidden_rows: list[int] = field(default_factory=list)
    #: Whether there are more rows than were read.
    goes_on: bool = False
    is_damaged: bool = False


def read_formats(book: Book, part: str | None, *, is_1904: bool) -> Mapping[str, NumberFormat]:
    """Read the number formats of cells, by the index of their style. Those without one have none."""
    if part is None:
        return {}
    root = book.read(part)
    if root is None:
        return {}
    codes = {element.get("numFmtId", ""): element.get("formatCode", "") for element in root.iter("numFmt")}
    by_code: dict[str, NumberFormat] = {}
    formats = {}
    for index, style in enumerate(root.iterfind("cellXfs/xf")):
        number = style.get("numFmtId", "")
        code = codes.get(number) or (BUILT_IN_CODES.get(int(number)) if number.isdecimal() else None) or "General"
        if code not in by_code:
            by_code[code] = NumberFormat(code, is_1904=is_1904)
        if code != "General":
            formats[str(index)] = by_code[code]
    return formats


def read_cells(book: Book, part: str) -> SheetCells:
    """Read the cells of a sheet until there is enough text, or no time."""
    reader = _CellReader(book)
    sheet = SheetCells(reader.grid)
    try:
        with book.parts.open_xml(part, cut="row", empty=_EMPTY) as xml:
            try:
                for row in xml.elements():
                    if reader.read_row(row):
                        sheet.hidden_rows.append(reader.row)
                    if reader.grid.length > book.sections.max_chars or book.sections.is_late:
                        sheet.goes_on = True
                        break
            finally:
                sheet.root = xml.root
    except DamagedPart:
        sheet.is_damaged = True
    reader.report()
    return sheet


def parse_reference(reference: str) -> tuple[int, int] | None:
    """The row and column of a cell's address."""
    match = _REFERENCE.match(reference)
    return (int(match[2]), number_column(match[1])) if match else None


def parse_range(reference: str) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """The first and the last cell of a range."""
    first, _, last = reference.partition(":")
    start, end = parse_reference(first), parse_reference(last or first)
    return (start, end) if start and end else None


class _CellReader:
    """Puts the rows of one sheet into a grid."""

    def __init__(self, book: Book) -> None:
        self.grid = Grid()
        self.row = 0
        self._book = book
        self._columns: dict[str, int] = {}
        self._shared_formulas: dict[str, tuple[str, str]] = {}
        self._formulas = self._rich_values = self._lost_texts = 0

    def read_row(self, row: Element) -> bool:
        """Read a row; returns whether it is hidden and has text."""
        number = row.get("r", "")
        self.row = int(number) if number.isdecimal() and number.isascii() else self.row + 1
        column, length = 0, self.grid.length
        for cell in row:
            column = self._column_of(cell.get("r", "")) or column + 1
            if not len(cell):  # it has a look and no content
                continue
            text = self._read_cell(cell)
            if text:
                self.grid.put(self.row, column, text)
        is_hidden = is_true(row.get("hidden")) or row.get("ht") == "0"
        return is_hidden and self.grid.length > length

    def report(self) -> None:
        """Say what the cells hold and the grid does not show."""
        sections = self._book.sections
        sections.leave_out("formula", self._formulas)
        sections.leave_out("rich value", self._rich_values)
        if self._lost_texts:
            sections.remark(f"The file lacks the text of {self._lost_texts} cells, or has more than can be read.")

    def _column_of(self, reference: str) -> int:
        letters = reference.rstrip("0123456789").strip("$")
        if letters not in self._columns:
            self._columns[letters] = number_column(letters) if letters.isalpha() and letters.isascii() else 0
        return self._columns[letters]

    def _read_cell(self, cell: Element) -> str:
        kind, value, formula = cell.get("t", "n"), None, None
        for child in cell:
            if child.tag == "v":
                value = child.text
            elif child.tag == "f":
                formula = child
            elif child.tag == "is":
                return self._format_text(join_runs(child), cell)
        if formula is not None:
            if self._lacks_value(kind, value):
                return self._read_formula(formula, cell.get("r", ""))
            self._formulas += 1
        if not value:
            return ""
        return self._format_value(kind, value, cell)

    def _format_value(self, kind: str, value: str, cell: Element) -> str:
        if kind == "s":
            return self._format_text(self._find_string(value), cell)
        if kind == "n":
            return self._format_number(value, cell)
        if kind == "b":
            return "TRUE" if is_true(value) else "FALSE"
        if kind == "e" and cell.get("vm"):  # a picture or a record, for which old programs show an error
            self._rich_values += 1
            return "[rich value]"
        if kind == "d":
            return value.removesuffix("Z").removesuffix("T00:00:00").removesuffix("T00:00:00.000").replace("T", " ")
        return self._format_text(unescape(value), cell) if kind == "str" else value

    def _lacks_value(self, kind: str, value: str | None) -> bool:
        if value:
            return self._book.is_recalculated and value == "0" and kind == "n"
        return kind != "str"

    def _read_formula(self, formula: Element, reference: str) -> str:
        text, group = (formula.text or "").strip().lstrip("="), formula.get("si", "")
        if text and formula.get("t") == "shared":
            self._shared_formulas[group] = (text, reference)
        elif not text and group in self._shared_formulas:
            text = _translate(*self._shared_formulas[group], reference)
        if not text:
            return ""
        self._book.sections.remark(FORMULAS)
        return f"={_FUNCTION_PREFIX.sub('', text)}"

    def _find_string(self, index: str) -> str:
        text = self._book.strings.find(int(index)) if self._book.strings and index.strip().isdecimal() else None
        self._lost_texts += text is None
        return text or ""

    def _format_number(self, value: str, cell: Element) -> str:
        number_format = self._book.formats.get(cell.get("s", ""))
        if number_format is None:
            return format_general(value)
        if number_format.first_in_dates:
            self._book.sections.remark(f"In dates such as 1/2/2034, the {number_format.first_in_dates} comes first.")
        return number_format.format(value)

    def _format_text(self, text: str, cell: Element) -> str:
        number_format = self._book.formats.get(cell.get("s", ""))
        return number_format.format_text(text) if number_format and number_format.wraps_text else text


def _translate(text: str, origin: str, reference: str) -> str:
    """A formula that cells share, as it is in another of them."""
    from openpyxl.formula.translate import Translator

    try:
        return str(Translator(f"={text}", origin).translate_formula(reference))[1:]
    except Exception:  # noqa: BLE001 - what cannot be moved is shown as it stands in its first cell
        return text
