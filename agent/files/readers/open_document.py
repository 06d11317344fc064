"""The text of OpenDocument files: paragraphs and tables, sheets, slides.

What stays true: entities of their XML are refused; a cell that says it is there a million times is
there a few times.
"""

import io
import zipfile
from collections.abc import Iterator
from typing import Any

from agent.files.readers.sections import TextSections

#: How often a repeated cell is written.
REPEATED_MAX = 100

_TEXT = "{urn:oasis:names:tc:opendocument:xmlns:text:1.0}"
_TABLE = "{urn:oasis:names:tc:opendocument:xmlns:table:1.0}"
_DRAW = "{urn:oasis:names:tc:opendocument:xmlns:drawing:1.0}"
_OFFICE = "{urn:oasis:names:tc:opendocument:xmlns:office:1.0}"


def read(content: bytes, sections: TextSections) -> dict[str, Any]:
    """Read the text of an .odt, .ods or .odp."""
    from defusedxml.ElementTree import fromstring

    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        root = fromstring(archive.read("content.xml"))
    for number, (mark, part) in enumerate(_parts(root), start=1):
        if sections.is_over:
            return sections.result(goes_on=True)
        sections.add(mark.format(number), "\n".join(_lines(part)))
    return sections.result()


def _parts(root: Any) -> Iterator[tuple[str, Any]]:
    """The pieces of the document that have a mark: a text is one piece without."""
    body = root.find(f"{_OFFICE}body")
    for document in body if body is not None else ():
        if document.tag == f"{_OFFICE}spreadsheet":
            for sheet in document.iter(f"{_TABLE}table"):
                name = str(sheet.get(f"{_TABLE}name", "")).replace("{", "{{").replace("}", "}}")
                yield f'sheet "{name}"', sheet
        elif document.tag == f"{_OFFICE}presentation":
            for slide in document.iter(f"{_DRAW}page"):
                yield "slide {}", slide
        else:
            yield "", document


def _lines(part: Any) -> Iterator[str]:
    for element in part:
        if element.tag == f"{_TABLE}table-row":
            yield _row(element)
        elif element.tag == f"{_TEXT}h":
            level = str(element.get(f"{_TEXT}outline-level", "1"))
            yield "#" * min(int(level), 6) + " " + _text(element)
        elif element.tag == f"{_TEXT}p":
            yield _text(element)
        elif element.tag != f"{_TEXT}tracked-changes":
            yield from _lines(element)


def _row(row: Any) -> str:
    cells: list[str] = []
    for cell in row:
        text = " ".join(" ".join(_lines(cell)).split())
        times = int(cell.get(f"{_TABLE}number-columns-repeated", "1"))
        cells.extend([text] * min(times, REPEATED_MAX))
    return "\t".join(cells).rstrip()


def _text(element: Any) -> str:
    """The text of an element, with the spaces, tabs and line breaks that are elements of their own."""
    pieces = [element.text or ""]
    for child in element:
        if child.tag == f"{_TEXT}s":
            pieces.append(" " * min(int(child.get(f"{_TEXT}c", "1")), REPEATED_MAX))
        elif child.tag == f"{_TEXT}tab":
            pieces.append("\t")
        elif child.tag == f"{_TEXT}line-break":
            pieces.append("\n")
        else:
            pieces.append(_text(child))
        pieces.append(child.tail or "")
    return "".join(pieces)
