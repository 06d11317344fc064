"""The text of Office documents: paragraphs and tables, slides with their notes.

What stays true: entities of their XML are not expanded, and nothing that they point to is fetched.
"""

import io
from collections.abc import Iterable, Iterator
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


def _shapes(shapes: Iterable[Any]) -> Iterator[str]:
    for shape in shapes:
        if hasattr(shape, "shapes"):  # a group
            yield from _shapes(shape.shapes)
        elif getattr(shape, "has_table", False):
            yield from _rows(shape.table.rows)
        elif shape.has_text_frame and shape.text_frame.text.strip():
            yield shape.text_frame.text.strip()
