"""The text of a PDF: what it says of itself, its form, its pages with what readers put on them, its bookmarks.

What stays true: one damaged page, or part, does not cost the others; a PDF is called damaged only if neither PDFium
nor pypdf opens it.
"""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agent.files.readers import ocr
from agent.files.readers.pdf.annotations import read_annotations
from agent.files.readers.pdf.catalog import (
    count_document_scripts,
    read_alternative_texts,
    read_attached_files,
    read_layers,
    read_properties,
)
from agent.files.readers.pdf.fonts import has_unmapped_font
from agent.files.readers.pdf.form import read_form
from agent.files.readers.pdf.pages import PageContent, Pages, PdfiumPages, PypdfPages
from agent.files.readers.pdf.repair import repair
from agent.files.readers.sections import TextSections, Unreadable

if TYPE_CHECKING:  # imported under the limits, below
    from pypdf import PdfReader

#: Characters below which a page that a picture covers is a scan: a stamped number is no text of its own.
SCAN_TEXT_MAX = 80
#: Ranges of pages that are named.
RANGES_MAX = 20

_ENCRYPTED = "The PDF is protected by a password; ask for a copy without one."
_CERTIFICATE = "The PDF is encrypted for the holders of certain certificates; ask for a copy that is not."
_NO_CRYPTOGRAPHY = "the package cryptography is not installed here"
_SCAN = "The PDF holds no text: its pages are probably scanned images."
_BLANK = "The PDF holds no text: its pages are blank."
_NO_PAGES = "The PDF has no pages."
_TOO_LARGE = "The PDF could not be read: it needs too much memory."
_TOO_SLOW = "The PDF could not be read: it takes too much time."
_DAMAGED = "The PDF could not be read: it is damaged or incomplete."
_BROKEN = "The PDF is broken off or damaged: these are the pages that were found in it, and others may be missing."
_UNKNOWN_PROTECTION = "The PDF is protected in a way that cannot be read here; ask for a copy without protection."
_PLAIN = "The PDF was read a second time by a simpler reader, since the first one crashed: words may be out of order."


def read(content: bytes, sections: TextSections) -> dict[str, Any]:
    """Read a PDF. Raises `Unreadable`."""
    from pypdfium2 import PdfiumError

    try:
        return _read(content, PdfiumPages(content), sections)
    except PdfiumError:
        pass
    try:
        return _read(content, None, sections)
    except Unreadable as reason:
        repaired_content = repair(content) if str(reason) == _DAMAGED else None
        if repaired_content is None:
            raise
    try:
        result = _read(repaired_content, PdfiumPages(repaired_content), sections)
    except PdfiumError:
        raise Unreadable(_DAMAGED) from None
    sections.remark(_BROKEN)
    return result | {"remarks": sections.result()["remarks"]}


def read_without_pdfium(content: bytes, sections: TextSections) -> dict[str, Any]:
    """Read a PDF that crashes PDFium, by pypdf alone. Raises `Unreadable`."""
    sections.remark(_PLAIN)
    return _read(content, None, sections)


def _read(content: bytes, pages: Pages | None, sections: TextSections) -> dict[str, Any]:
    reader, reason = _open_with_pypdf(content)
    if pages is None and reader is None:
        raise Unreadable(f"The PDF could not be read: {reason}." if reason == _NO_CRYPTOGRAPHY else reason)
    if reader is None:
        detail = f": {reason}" if reason == _NO_CRYPTOGRAPHY else ""
        sections.remark(f"Its form, notes and attached files, if it has any, could not be read{detail}.")
    return _PdfText(pages or PypdfPages(_require(reader)), reader, sections).read()


def _require(reader: "PdfReader | None") -> "PdfReader":
    assert reader is not None
    return reader


def _open_with_pypdf(content: bytes) -> "tuple[PdfReader | None, str]":
    """Open a file with pypdf, or say why that cannot be done."""
    from pypdf import PdfReader

    try:
        reader = PdfReader(io.BytesIO(content))
        if reader.is_encrypted and not reader.decrypt(""):
            return None, _ENCRYPTED
        len(reader.pages)
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - a damaged file raises anything, from deep inside the parser
        return None, _explain(error, content)
    return reader, ""


def _explain(error: Exception, content: bytes) -> str:
    from pypdf.errors import DependencyError, FileNotDecryptedError, LimitReachedError

    match error:
        case DependencyError():
            return _NO_CRYPTOGRAPHY
        case FileNotDecryptedError():
            return _ENCRYPTED
        case LimitReachedError():
            return _TOO_LARGE
        case NotImplementedError():
            return _CERTIFICATE if b"Adobe.PubSec" in content else _UNKNOWN_PROTECTION
        case _:
            return _DAMAGED


@dataclass
class _PdfText:
    """The gathering of one PDF's text, page by page."""

    pages: Pages
    #: What reads all but the pages; None where it cannot.
    reader: "PdfReader | None"
    sections: TextSections
    #: How many pages there are, as far as is known.
    total: int = 0
    #: Numbers of pages, by what is to be told of them.
    unread: list[int] = field(default_factory=list)
    scanned: list[int] = field(default_factory=list)
    recognized: list[int] = field(default_factory=list)
    garbled: list[int] = field(default_factory=list)
    unmapped: list[int] = field(default_factory=list)

    def read(self) -> dict[str, Any]:
        """Read all there is."""
        self.total = self._count_pages()
        front_lines = [*self._read_part("properties", read_properties), *self._read_part("layers", self._read_layers)]
        self.sections.add("", "\n".join(front_lines))
        self.sections.add("form", "\n".join(self._read_part("form", lambda reader: read_form(reader, self.sections))))
        pages_read = self._read_pages()
        if not self.sections.is_full:
            self._read_back_matter()
        self._remark_pages()
        result = self.sections.result(goes_on=pages_read < self.total)
        return result | {"problem": self._describe_problem(result["text"], pages_read)}

    def _count_pages(self) -> int:
        """How many pages there may be: the count in a file may be a lie, and a tree of pages broken."""
        return max(len(self.pages), self._count_known_pages())

    def _count_known_pages(self) -> int:
        return 0 if self.reader is None else len(self.reader.pages)

    def _read_part(self, noun: str, read: "Callable[[PdfReader], Sequence[str]]") -> Sequence[str]:
        """Read a part that the file may have; one that is damaged is remarked."""
        from pypdf.errors import DependencyError

        if self.reader is None:
            return []
        try:
            return read(self.reader)
        except MemoryError:
            raise
        except DependencyError:
            self.sections.remark(f"The {noun} of the PDF could not be read: {_NO_CRYPTOGRAPHY}.")
        except Exception:  # noqa: BLE001 - a damaged file raises anything, from deep inside the parser
            self.sections.remark(f"The {noun} of the PDF could not be read.")
        return []

    def _read_layers(self, reader: "PdfReader") -> Sequence[str]:
        self.sections.leave_out("script", count_document_scripts(reader))
        return read_layers(reader, self.sections)

    def _read_pages(self) -> int:
        labels = self._read_part(
            "page labels", lambda reader: reader.page_labels if "/PageLabels" in reader.root_object else []
        )
        for number in range(1, self.total + 1):
            if self.sections.is_over:
                return number - 1
            try:
                content = self._read_page(number)
            except MemoryError:
                raise
            except Exception:  # noqa: BLE001 - a damaged page raises anything, from deep inside the parser
                if number > self._count_known_pages() > 0:  # there are no more
                    self.total = number - 1
                    break
                self.unread.append(number)
                continue
            label = labels[number - 1] if number <= len(labels) else str(number)
            mark = f"page {number}" if label == str(number) else f"page {number} ({label})"
            self._add_page(number, mark, content)
        return self.total

    def _read_page(self, number: int) -> PageContent:
        try:
            content = self.pages.read(number - 1)
        except MemoryError:
            raise
        except Exception:
            if self.reader is None:
                raise
            return PypdfPages(self.reader).read(number - 1)
        if not content.is_drawn and self.reader is not None:
            # Blank, or with content that PDFium gave up on without a word.
            contents = self.reader.pages[number - 1].get_contents()
            if contents is not None:
                contents.get_data()
        return content

    def _add_page(self, number: int, mark: str, content: PageContent) -> None:
        text = self._judge_text(number, content)
        notes = self._read_part(f"notes on page {number}", lambda reader: self._read_notes(reader, number, text))
        self.sections.add(mark, "\n".join(filter(None, (text, *notes))))

    def _judge_text(self, number: int, content: PageContent) -> str:
        """The text of a page, or what is read from its picture."""
        is_scan = content.is_covered and len(content.text) < SCAN_TEXT_MAX
        is_unread = content.is_drawn and not content.text
        if content.text and content.is_garbled:
            self.garbled.append(number)
        elif is_scan or is_unread:
            self.scanned.append(number)
        else:
            self.sections.leave_out("picture", content.pictures)
            return content.text
        recognized_text = self._recognize(number)
        return recognized_text or ("" if content.is_garbled else content.text)

    def _recognize(self, number: int) -> str:
        """The text that OCR finds on a page."""
        if not self.sections.ocr_languages:
            return ""
        try:
            image = self.pages.render(number - 1)
            text = "" if image is None else ocr.recognize(image, self.sections)
        except ocr.Unavailable as reason:
            self.sections.remark(str(reason))
            return ""
        self.recognized.append(number)
        return text

    def _read_notes(self, reader: "PdfReader", number: int, text: str) -> Sequence[str]:
        page = reader.pages[number - 1]
        if text and has_unmapped_font(page):
            self.unmapped.append(number)
        return read_annotations(page, text, reader, self.sections)

    def _read_back_matter(self) -> None:
        """Read what stands behind the pages: bookmarks, attached files, words that stand for pictures."""
        self.sections.add("bookmarks", "\n".join(self._read_part("bookmarks", lambda _: self.pages.read_outline())))
        lines = [
            *self._read_part("attached files", lambda reader: read_attached_files(reader, self.sections)),
            *self._read_part("structure", lambda reader: read_alternative_texts(reader, self.sections)),
        ]
        self.sections.add("also in the file", "\n".join(lines))

    def _remark_pages(self) -> None:
        unseen = [number for number in self.scanned if number not in self.recognized]
        self.sections.leave_out("scanned page", len(unseen))
        if unseen and self.sections.has_text:
            self.sections.remark(
                f"{len(unseen)} of {self.total} pages hold no text ({_list_ranges(unseen)}): they are probably scanned "
                "images, and what stands in them was not read."
            )
        if self.recognized:
            self.sections.remark(
                f"{len(self.recognized)} of {self.total} pages were read by OCR, which makes mistakes: "
                f"{_list_ranges(self.recognized)}."
            )
        meaningless = [number for number in self.garbled if number not in self.recognized]
        self.sections.leave_out("garbled page", len(meaningless))
        if meaningless:
            self.sections.remark(
                f"The fonts of some pages do not say which characters they show, so that their text has no meaning "
                f"and is not shown: {_list_ranges(meaningless)}."
            )
        unsure = [number for number in self.unmapped if number not in self.garbled]
        if unsure:
            self.sections.remark(
                f"A font does not say which characters it shows; words may be wrong on pages {_list_ranges(unsure)}."
            )

    def _describe_problem(self, text: str, pages_read: int) -> str | None:
        if not self.total:
            return None if text else _NO_PAGES
        if not pages_read and not text and self.sections.is_late:
            return _TOO_SLOW
        if self.unread and not text:
            return _DAMAGED
        if self.unread:
            return f"Some pages of the PDF could not be read: {_list_ranges(self.unread)}."
        if pages_read < self.total and not self.sections.is_full:
            return f"Only the first {pages_read} of {self.total} pages of the PDF were read: it takes too much time."
        return None if text else (_SCAN if self.scanned or self.garbled else _BLANK)


def _list_ranges(numbers: Sequence[int]) -> str:
    """List numbers in short: `2, 5-7`."""
    ranges: list[tuple[int, int]] = []
    for number in numbers:
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1] = (ranges[-1][0], number)
        else:
            ranges.append((number, number))
    named = ", ".join(f"{first}-{last}" if last > first else f"{first}" for first, last in ranges[:RANGES_MAX])
    return f"{named} and more" if len(ranges) > RANGES_MAX else named
