"""The text of Office documents: paragraphs and tables, sheets.

What stays true: entities of their XML are not expanded, and nothing that they point to is fetched.
"""

import io
from collections.abc import Iterable, Iterator
from datetime import date, datetime, time
from typing import Any

from agent.files.readers.sections import TextSections


def read_document(content: bytes, sections: TextSections) -> dict[str, Any]:
    """Read a .docx, in pages as they were when it was last saved, if its program wrote that down."""
    import docx
    from docx.table import Table

    page, lines, has_page_marks = 1, list[str](), False
    for block in docx.Document(io.BytesIO(content)).iter_inner_content():
        if sections.is_over:
            return sections.result(goes_on=True)
        if isinstance(block, Table):
            lines.extend(_rows(block.rows))
            continue
        breaks = len(block.rendered_page_breaks)
        if breaks:
            sections.add(f"page {page}", "\n".join(lines))
            page, lines, has_page_marks = page + breaks, [], True
        lines.append(_heading_prefix(block.style.name if block.style else None) + block.text)
    sections.add(f"page {page}" if has_page_marks else "", "\n".join(lines))
    return sections.result()


def read_workbook(content: bytes, sections: TextSections) -> dict[str, Any]:
    """Read an .xlsx: the values that its formulas had, a row a line, cells between tabs."""
    import openpyxl

    workbook = openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=True, keep_links=False)
    for number, sheet in enumerate(workbook.worksheets):
        sheet.reset_dimensions()  # what it says of its size may be a lie
        lines, length = list[str](), 0
        for row in sheet.iter_rows(values_only=True):
            lines.append("\t".join(map(_format_cell, row)).rstrip())
            length += len(lines[-1])
            if length > sections.max_chars or sections.is_late:
                break
        sections.add(f'sheet "{sheet.title}"', "\n".join(filter(None, lines)))
        if sections.is_over:
            return sections.result(goes_on=sections.is_late or number + 1 < len(workbook.worksheets))
    return sections.result()


def _heading_prefix(style: str | None) -> str:
    """The Markdown prefix of a heading, by which a model sees the outline; "" for other styles."""
    kind, _, level = (style or "").partition(" ")
    if style == "Title":
        return "# "
    return "#" * min(int(level), 6) + " " if kind == "Heading" and level.isdecimal() else ""


def _rows(rows: Iterable[Any]) -> Iterator[str]:
    for row in rows:
        # A cell that spans several columns stands in each of them.
        cells = [cell for n, cell in enumerate(row.cells) if not n or cell is not row.cells[n - 1]]
        yield " | ".join(" ".join(cell.text.split()) for cell in cells)


def _format_cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime | date | time):
        return value.isoformat(" ") if isinstance(value, datetime) else value.isoformat()
    return " ".join(str(value).split())
