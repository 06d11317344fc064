"""The text of a PDF, page by page. What stays true: one damaged page does not cost the others."""

import io
from typing import TYPE_CHECKING, Any

from agent.files.readers.sections import TextSections, Unreadable

if TYPE_CHECKING:  # imported under the limits, below
    from pypdf import PdfReader

_ENCRYPTED = "The PDF is protected by a password; ask for a copy without one."
_SCAN = "The PDF holds no text: its pages are probably scanned images."
_TOO_LARGE = "The PDF could not be read: it needs too much memory."
_TOO_SLOW = "The PDF could not be read: it takes too much time."
_DAMAGED = "The PDF could not be read: it is damaged or incomplete."


def read(content: bytes, sections: TextSections) -> dict[str, Any]:
    """Read the text of the pages. Raises `Unreadable`, and anything for a damaged file."""
    from pypdf import PdfReader
    from pypdf.errors import DependencyError, FileNotDecryptedError, LimitReachedError

    try:
        reader = PdfReader(io.BytesIO(content))
        if reader.is_encrypted and not reader.decrypt(""):
            raise Unreadable(_ENCRYPTED)
        return _read_pages(reader, sections)
    except (DependencyError, FileNotDecryptedError):
        raise Unreadable(_ENCRYPTED) from None
    except LimitReachedError:
        raise Unreadable(_TOO_LARGE) from None


def _read_pages(reader: "PdfReader", sections: TextSections) -> dict[str, Any]:
    unread_pages: list[int] = []
    pages_read = 0
    total = len(reader.pages)
    for number, page in enumerate(reader.pages, start=1):
        if sections.is_over:
            break
        pages_read = number
        try:
            sections.add(f"page {number}", page.extract_text())
        except Exception:
            if total == 1:
                raise
            unread_pages.append(number)
    if not pages_read and total:
        raise Unreadable(_TOO_SLOW)
    result = sections.result(goes_on=pages_read < total)
    return result | {"problem": _problem(result["text"], unread_pages, pages_read, total, is_full=sections.is_full)}


def _problem(text: str, unread_pages: list[int], pages_read: int, total: int, *, is_full: bool) -> str | None:
    if unread_pages and not text:
        return _DAMAGED
    if unread_pages:
        return f"Some pages of the PDF could not be read: {', '.join(map(str, unread_pages[:20]))}."
    if pages_read < total and not is_full:
        return f"Only the first {pages_read} of {total} pages of the PDF were read: it takes too much time."
    return None if text else _SCAN
