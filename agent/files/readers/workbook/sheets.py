"""The text of an .xlsx: its sheets in their order, and what belongs to the workbook as a whole.

What stays true: every part of the file is shown, is known to hold no text, or is counted as left out; a damaged part
costs what it holds, and is named.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, takewhile
from posixpath import basename
from typing import Any
from xml.etree.ElementTree import Element

from agent.files.readers.office.embedded import find_kind
from agent.files.readers.office.grid import name_sheets
from agent.files.readers.office.package import Relationship
from agent.files.readers.office.properties import describe_properties
from agent.files.readers.office.zip_parts import ZipParts
from agent.files.readers.sections import TextSections, Unreadable
from agent.files.readers.workbook.cells import read_cells, read_formats
from agent.files.readers.workbook.drawings import describe_drawings
from agent.files.readers.workbook.notes import annotate_cells, describe_sheet
from agent.files.readers.workbook.parts import Book, find_part, is_true, links_of, read_links
from agent.files.readers.workbook.strings import SharedStrings

_DAMAGED = "The workbook could not be read: it is damaged or incomplete."
_BINARY = "The workbook is in Excel's binary form (.xlsb); ask for it as .xlsx."
_LATE = "The workbook was read for as long as there was time; it goes on."
#: Names of one workbook that are written; broken workbooks have many thousands.
NAMES_MAX = 200

_SHEET_PART = re.compile(r"(?:work|chart|dialog|macro)sheets/[^/]+\.xml$")
_KINDS = {"chartsheet": "a chart", "dialogsheet": "a dialog", "xlmacrosheet": "macros", "xlintlmacrosheet": "macros"}
_STATES = {"hidden": "hidden", "veryhidden": "very hidden"}
#: By their names: what parts that nobody read are called among what is left out; "" for those that hold no text.
_OTHER_PARTS = (
    (r"\.rels$|\[content_types\]|/theme/|styles\.xml$|sharedstrings\.xml$|calcchain\.xml$|printersettings", ""),
    (r"/charts/(?:style|colors)", ""),
    (r"thumbnail|xl/metadata|\.ds_store$|\[trash\]|persons?/", ""),
    (r"richdata/|caches?/.{0,99}records|slicercache|timelinecache|\.vml$|/diagrams/", ""),
    (r"volatiledependencies|docmetadata|featurepropertybag|customxml/(?!item\d)|usernames|activex/.{0,99}\.bin$", ""),
    (r"xl/media/|\.(?:png|jpe?g|gif|emf|wmf|tiff?|bmp|svg|webp|wdp)$", "picture"),
    (r"embeddings/", "embedded object"),
    (r"activex/|ctrlprops/", "form control"),
    (r"externallinks/", "external link"),
    (r"pivotcache", "pivot cache"),
    (r"slicers/|timelines/", "slicer"),
    (r"querytables/", "query table"),
    (r"connections\.xml$", "data connection"),
    (r"/model/", "data model"),
    (r"vba|attachedtoolbars", "macro"),
    (r"customxml/", "custom XML part"),
    (r"xmlmaps\.xml$|tablesinglecells", "XML map"),
    (r"webextensions/", "web extension"),
    (r"docprops/|\.psmdcp$", "document property"),
    (r"revisions/", "change log"),
    (r"_xmlsignatures/", "signature"),
    (r"customproperty", "custom property"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Sheet:
    """A sheet, as the workbook names it."""

    name: str
    part: str
    #: What it is beside a sheet of cells that everybody sees, such as `hidden`; "" for nothing.
    remark: str

    @property
    def mark(self) -> str:
        """The mark before the sheet's text."""
        return f'sheet "{self.name}"' + (f" ({self.remark})" if self.remark else "")


def read(content: bytes, sections: TextSections) -> dict[str, Any]:
    """Read a workbook. Raises `Unreadable`, and anything for a damaged archive."""
    parts = ZipParts(content)
    package_links = read_links(parts, "")
    part = find_part(parts, package_links, "officeDocument", "workbook.xml")
    if part is None and any(name.endswith("workbook.bin") for name in parts.names):
        raise Unreadable(_BINARY)
    book = Book(parts, sections)
    links = read_links(parts, part) if part else {}
    root = book.read(part) if part else None
    root = Element("workbook") if root is None else root
    _load(book, root, links)
    goes_on = _read_sheets(book, _list_sheets(parts, root, links))
    if not goes_on:
        sections.add("defined names", "\n".join(_describe_names(book, root)))
        sections.add("properties", "\n".join(_describe_properties(book, package_links)))
    _count_other_parts(book, is_whole=not goes_on)
    return sections.result(goes_on=goes_on, problem=_LATE if goes_on and not sections.is_full else None)


def _load(book: Book, root: Element, links: Mapping[str, Relationship]) -> None:
    """Load what all sheets need."""
    properties, calculation = root.find("workbookPr"), root.find("calcPr")
    is_1904 = properties is not None and is_true(properties.get("date1904"))
    book.is_recalculated = calculation is not None and is_true(calculation.get("fullCalcOnLoad"))
    book.formats = read_formats(book, find_part(book.parts, links, "styles", "styles.xml"), is_1904=is_1904)
    strings_part = find_part(book.parts, links, "sharedStrings", "sharedstrings.xml")
    book.strings = SharedStrings(book.parts, book.sections, strings_part)
    people = [element for part in links_of(links, "person") for element in book.read_children(part)]
    book.people = {person.get("id", ""): person.get("displayName", "") for person in people}


def _list_sheets(parts: ZipParts, root: Element, links: Mapping[str, Relationship]) -> list[_Sheet]:
    """List the sheets in the order of their tabs; those of a workbook that names none by their parts."""
    sheets = []
    for element in root.iterfind("sheets/sheet"):
        link = links.get(element.get(":id", ""))
        remarks = [_KINDS.get(link.kind.lower(), "") if link else "", _STATES.get(element.get("state", "").lower(), "")]
        remark = ", ".join(filter(None, remarks))
        sheets.append(_Sheet(" ".join(element.get("name", "").split()), link.target if link else "", remark))
    if not any(sheet.part in parts for sheet in sheets):
        names = sorted((name for name in parts.names if _SHEET_PART.search(name)), key=_natural_order)
        titles = [sheet.name for sheet in sheets] if len(sheets) == len(names) else map(basename, names)
        sheets = [_Sheet(title, name, "") for title, name in zip(titles, names, strict=True)]
    if not sheets:
        raise Unreadable(_DAMAGED)
    return sheets


def _natural_order(name: str) -> list[str]:
    return [piece.zfill(9) for piece in re.split(r"(\d+)", name)]


def _read_sheets(book: Book, sheets: list[_Sheet]) -> bool:
    """Read the sheets one after the other; returns whether there is more than was read."""
    damaged_sheets, empty_sheets = list[str](), list[str]()
    goes_on = False
    for number, sheet in enumerate(sheets):
        if goes_on or book.sections.is_over:
            _remark_on(book, "Not read", [unread.name for unread in sheets[number:]])
            goes_on = True
            break
        lines, goes_on, is_damaged = _read_sheet(book, sheet)
        book.sections.add(sheet.mark, lines)
        if is_damaged:
            damaged_sheets.append(sheet.name)
        elif not lines.strip():
            empty_sheets.append(sheet.name)
    if len(damaged_sheets) == len(sheets) and not book.sections.result()["text"]:
        raise Unreadable(_DAMAGED)
    _remark_on(book, "Damaged, and read in part or not at all", damaged_sheets)
    _remark_on(book, "Without text", empty_sheets)
    return goes_on


def _read_sheet(book: Book, sheet: _Sheet) -> tuple[str, bool, bool]:
    """Read a sheet: its text, whether it has more, and whether it is damaged."""
    links = read_links(book.parts, sheet.part)
    cells = read_cells(book, sheet.part)
    annotate_cells(book, cells, links)
    all_notes = chain(describe_sheet(book, cells, links), describe_drawings(book, links))
    notes = list(takewhile(lambda _: not book.sections.is_late, all_notes))
    text = "\n".join([*cells.grid.lines(), *([""] if cells.grid.length and notes else []), *notes])
    return text, cells.goes_on or book.sections.is_late, cells.is_damaged


def _remark_on(book: Book, what: str, names: list[str]) -> None:
    if names:
        book.sections.remark(f"{what}: {name_sheets(names)}.")


def _describe_names(book: Book, root: Element) -> Iterator[str]:
    """Yield the names that formulas use; those that programs give for printing and filters say nothing."""
    names = [name for name in root.iterfind("definedNames/definedName") if name.get("name", "")[:6] != "_xlnm."]
    useful_names = [name for name in names if "#REF!" not in (name.text or "")][:NAMES_MAX]
    book.sections.leave_out("defined name", len(names) - len(useful_names))
    for name in useful_names:
        comments = " ".join(filter(None, (name.get(key) for key in ("comment", "description"))))
        yield f"{name.get('name')} = {' '.join((name.text or '').split())}" + (f" ({comments})" if comments else "")


def _describe_properties(book: Book, links: Mapping[str, Relationship]) -> Iterator[str]:
    for kind, name in (("core", "core"), ("extended", "app"), ("custom", "custom")):
        part = find_part(book.parts, links, f"{kind}-properties", f"docprops/{name}.xml")
        yield from describe_properties(book.read_children(part), book.sections)


def _count_other_parts(book: Book, *, is_whole: bool) -> None:
    """Count the parts that nobody read; of a workbook that was read in part, those of a known kind."""
    for name in book.parts.unread_names:
        kind = next((kind for pattern, kind in _OTHER_PARTS if re.search(pattern, name)), None)
        if kind is None and is_whole and not _SHEET_PART.search(name):
            kind = "unknown part"
        if kind == "embedded object":
            kind = find_kind(name)
        if kind:
            book.sections.leave_out(kind)
