"""The text of a PDF, page by page. What stays true: one damaged page does not cost the others."""

import io
from typing import TYPE_CHECKING, Any

from agent.files.readers.sections import Sections, Unreadable

if TYPE_CHECKING:  # imported under the limits, below
    from pypdf import PdfReader

_ENCRYPTED = "The PDF is protected by a password; ask for a copy without one."
_SCAN = "The PDF holds no text: its pages are probably scanned images."
_TOO_LARGE = "The PDF could not be read: it needs too much memory."
_TOO_SLOW = "The PDF could not be read: it takes too much time."
_DAMAGED = "The PDF could not be read: it is damaged or incomplete."


def read(content: bytes, sections: Sections) -> dict[str, Any]:
    """The text of the pages. Raises `Unreadable`, and anything for a damaged file."""
    from pypdf import PdfReader
    from pypdf.errors import DependencyError, FileNotDecryptedError, LimitReachedError

    try:
        reader = PdfReader(io.BytesIO(content))
        if reader.is_encrypted and not reader.decrypt(""):
            raise Unreadable(_ENCRYPTED)
        return _pages(reader, sections)
    except (DependencyError, FileNotDecryptedError):
        raise Unreadable(_ENCRYPTED) from None
    except LimitReachedError:
        raise Unreadable(_TOO_LARGE) from None


def _pages(reader: "PdfReader", sections: Sections) -> dict[str, Any]:
    unread: list[int] = []
    done = 0
    total = len(reader.pages)
    for number, page in enumerate(reader.pages, start=1):
        if sections.is_over:
            break
        done = number
        try:
            sections.add(f"page {number}", page.extract_text())
        except Exception:
            if total == 1:
                raise
            unread.append(number)
    if not done and total:
        raise Unreadable(_TOO_SLOW)
    found = sections.result(goes_on=done < total)
    return found | {"problem": _problem(found["text"], unread, done, total, is_full=sections.is_full)}


def _problem(text: str, unread: list[int], done: int, total: int, *, is_full: bool) -> str | None:
    if unread and not text:
        return _DAMAGED
    if unread:
        return f"Some pages of the PDF could not be read: {', '.join(map(str, unread[:20]))}."
    if done < total and not is_full:
        return f"Only the first {done} of {total} pages of the PDF were read: it takes too much time."
    return None if text else _SCAN
