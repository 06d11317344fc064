"""The things that a sheet of an .xlsx holds beside its cells: comments, links, choices, tables, pages.

What stays true: what belongs to a cell stands in it, between brackets; all else is a line after the rows.
"""

import re
from collections.abc import Iterator, Mapping
from xml.etree.ElementTree import Element

from agent.files.readers.office.grid import describe_hidden, remark_on_covered
from agent.files.readers.office.package import Relationship
from agent.files.readers.workbook.cells import SheetCells, parse_range, parse_reference
from agent.files.readers.workbook.parts import Book, is_true, links_of
from agent.files.readers.workbook.strings import join_runs

#: Lines of one kind that a sheet may have.
LINES_MAX = 200

#: By the path of its elements: what is counted and not shown.
_LEFT_OUT = {
    "conditionalFormatting": "conditional format",
    "scenarios/scenario": "scenario",
    "protectedRanges/protectedRange": "protected range",
    "customSheetViews/customSheetView": "custom view",
    "autoFilter/filterColumn": "filter",
    "customProperties/customPr": "custom property",
    "webPublishItems/webPublishItem": "published item",
    "extLst//conditionalFormatting": "conditional format",
    "extLst//sparkline": "sparkline",
}
_PAGE_LINES = {
    "oddHeader": "Page header",
    "oddFooter": "Page footer",
    "evenHeader": "Header of even pages",
    "evenFooter": "Footer of even pages",
    "firstHeader": "Header of the first page",
    "firstFooter": "Footer of the first page",
}
_PAGE_CODE = re.compile(r'&(?:"[^"]*"|K[0-9A-Fa-f+-]{6}|\d{1,3}|(.))', re.DOTALL)
_PAGE_FIELDS = {
    "L": " | ", "C": " | ", "R": " | ", "&": "&", "P": "[page]", "N": "[pages]", "D": "[date]", "T": "[time]",
    "A": "[sheet]", "F": "[file]", "Z": "[folder]", "G": "[picture]",
}  # fmt: skip


def annotate_cells(book: Book, sheet: SheetCells, links: Mapping[str, Relationship]) -> None:
    """Put comments and addresses into the cells that they belong to, and show what is merged once."""
    root = sheet.root if sheet.root is not None else Element("none")
    for merged in root.iterfind("mergeCells/mergeCell"):
        cells = parse_range(merged.get("ref", ""))
        if book.sections.is_late:
            break
        if cells and sheet.grid.cover(*cells):
            remark_on_covered(book.sections)
    for link in root.iterfind("hyperlinks/hyperlink"):
        row, column = parse_reference(link.get("ref", "")) or (0, 0)
        shown_text = sheet.grid.rows.get(row, {}).get(column, "")
        _put(sheet, link.get("ref", ""), _describe_link(link, links, shown_text))
    threaded = [part for part in links_of(links, "threadedComment") if part in book.parts]
    cells_with_threads = {cell for part in threaded for cell in _put_threads(book, sheet, part)}
    for part in links_of(links, "comments"):
        _put_comments(book, sheet, part, cells_with_threads)


def describe_sheet(book: Book, sheet: SheetCells, links: Mapping[str, Relationship]) -> Iterator[str]:
    """Yield the lines that follow the rows of a sheet, and count what is not shown of it."""
    root = sheet.root if sheet.root is not None else Element("none")
    spans = [
        range(int(column.get("min", "0")), int(column.get("max", "0")) + 1)
        for column in root.iterfind("cols/col")
        if is_true(column.get("hidden")) or column.get("width") == "0"
    ]
    yield from describe_hidden(book.sections, sheet.grid, sheet.hidden_rows, spans)
    for part in links_of(links, "table"):
        yield from _describe_table(book.read(part))
    for part in links_of(links, "pivotTable"):
        pivot = book.read(part)
        location = pivot.find("location") if pivot is not None else None
        if pivot is not None and location is not None:
            yield f'Pivot table "{pivot.get("name", "")}" ({location.get("ref", "")}).'
    validations = [*root.iterfind("dataValidations/dataValidation"), *root.iterfind("extLst//dataValidation")]
    for validation in validations[:LINES_MAX]:
        yield from _describe_validation(validation)
    book.sections.leave_out("rule for input", max(0, len(validations) - LINES_MAX))
    for control in (element for tag in ("controlPr", "objectPr") for element in root.iter(tag)):
        if control.get("altText"):
            yield f"Form control: {' '.join(control.get('altText', '').split())}"
    page = root.find("headerFooter")
    for element in page if page is not None else ():
        text = _PAGE_CODE.sub(lambda code: _PAGE_FIELDS.get(code[1] or "", ""), element.text or "").strip(" |\n")
        if element.tag in _PAGE_LINES and re.sub(r"\[[a-z]+\]|\W", "", text):  # more than fields
            yield f"{_PAGE_LINES[element.tag]}: {' '.join(text.split())}"
    for path, kind in _LEFT_OUT.items():
        book.sections.leave_out(kind, len(root.findall(path)))


def _put(sheet: SheetCells, reference: str, note: str) -> None:
    cell = parse_reference(reference)
    if cell and note and not (sheet.goes_on and cell[0] > max(sheet.grid.rows, default=0)):
        sheet.grid.put(*cell, note)


def _describe_link(link: Element, links: Mapping[str, Relationship], shown_text: str) -> str:
    target = links.get(link.get(":id", ""))
    place = f"#{link.get('location')}" if link.get("location") else ""
    address = f"{target.target if target else ''}{place}"
    words = [f"<{address}>" if address else "", " ".join(link.get("tooltip", "").split())]
    # Most programs write there what is in the cell, or the address.
    display = " ".join(link.get("display", "").split())
    words += [display] if display not in f"{shown_text}\n{address}" else []
    return " ".join(filter(None, words))


def _put_comments(book: Book, sheet: SheetCells, part: str, cells_with_threads: set[str]) -> None:
    root = book.read(part)
    if root is None:
        return
    authors = [author.text or "" for author in root.iterfind("authors/author")]
    for comment in root.iter("comment"):
        reference, index = comment.get("ref", ""), comment.get("authorId", "")
        author = authors[int(index)] if index.isdecimal() and int(index) < len(authors) else ""
        if reference in cells_with_threads and author.startswith("tc="):
            continue  # what old programs are told of a thread
        item = comment.find("text")
        text = join_runs(item) if item is not None else ""
        text = text.strip().removeprefix(f"{author}:").strip() if author else text
        _put(sheet, reference, f"[comment by {author}: {text}]" if author else f"[comment: {text}]")


def _put_threads(book: Book, sheet: SheetCells, part: str) -> set[str]:
    root, cells = book.read(part), set[str]()
    for comment in root.iter("threadedComment") if root is not None else ():
        reference = comment.get("ref", "")
        author = book.people.get(comment.get("personId", ""), "somebody")
        kind = "reply" if comment.get("parentId") else "comment"
        text = comment.find("text")
        _put(sheet, reference, f"[{kind} by {author}: {text.text if text is not None else ''}]")
        cells.add(reference)
    return cells


def _describe_table(table: Element | None) -> Iterator[str]:
    if table is None:
        return
    columns = ", ".join(
        " ".join(column.get("name", "").split()) for column in table.iterfind("tableColumns/tableColumn")
    )
    name = table.get("displayName") or table.get("name", "")
    comment = f" ({table.get('comment')})" if table.get("comment") else ""
    yield f'Table "{name}" ({table.get("ref", "")}){comment}: {columns}'


def _describe_validation(validation: Element) -> Iterator[str]:
    formulas = [" ".join("".join(formula.itertext()).split()) for formula in validation if formula.tag[:7] == "formula"]
    cells = validation.get("sqref") or "".join(validation.findtext("sqref", ""))
    kind = validation.get("type", "none")
    rule = "choices" if kind == "list" else " ".join(filter(None, (kind, validation.get("operator"))))
    pieces = [f"{rule} {' and '.join(formulas)}"] if formulas else []
    for name in ("prompt", "error"):
        words = [validation.get(f"{name}Title"), validation.get(name)]
        pieces.extend([f"{name}: {' - '.join(filter(None, words))}"] if any(words) else [])
    if pieces:
        yield f"Input of {cells}: {'; '.join(pieces)}"
