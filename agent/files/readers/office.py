"""The text of Office documents: sheets, slides with their notes.

What stays true: entities of their XML are not expanded, and nothing that they point to is fetched.
"""

import io
from collections.abc import Iterable, Iterator
from datetime import date, datetime, time
from typing import Any

from agent.files.readers.sections import TextSections


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


def read_presentation(content: bytes, sections: TextSections) -> dict[str, Any]:
    """Read a .pptx: the text of each slide in the order of its shapes, then its notes."""
    import pptx

    deck = pptx.Presentation(io.BytesIO(content))
    for number, slide in enumerate(deck.slides, start=1):
        if sections.is_over:
            return sections.result(goes_on=True)
        lines = list(_shapes(slide.shapes))
        if slide.has_notes_slide and slide.notes_slide.notes_text_frame is not None:
            notes = slide.notes_slide.notes_text_frame.text.strip()
            lines.extend([f"Notes: {notes}"] if notes else [])
        sections.add(f"slide {number}", "\n".join(lines))
    return sections.result()


def _rows(rows: Iterable[Any]) -> Iterator[str]:
    for row in rows:
        # A cell that spans several columns stands in each of them.
        cells = [cell for n, cell in enumerate(row.cells) if not n or cell is not row.cells[n - 1]]
        yield " | ".join(" ".join(cell.text.split()) for cell in cells)


def _shapes(shapes: Iterable[Any]) -> Iterator[str]:
    for shape in shapes:
        if hasattr(shape, "shapes"):  # a group
            yield from _shapes(shape.shapes)
        elif getattr(shape, "has_table", False):
            yield from _rows(shape.table.rows)
        elif shape.has_text_frame and shape.text_frame.text.strip():
            yield shape.text_frame.text.strip()


def _format_cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime | date | time):
        return value.isoformat(" ") if isinstance(value, datetime) else value.isoformat()
    return " ".join(str(value).split())
