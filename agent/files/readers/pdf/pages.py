"""The pages of a PDF: their text, how many pictures they have, and whether there is anything else on them.

What stays true: both libraries give the same kind of page. PDFium is quick and knows more of fonts and of the order
of words; pypdf reads what PDFium stumbles over.
"""

import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:  # imported under the limits, below
    from PIL.Image import Image
    from pypdf import PdfReader

#: Part of a page that a scan covers, at least.
SCAN_COVERAGE_MIN = 0.6
#: Pixels of the longer edge of a rendered page: an A4 page at 300 dots per inch.
EDGE_MAX = 3500
#: Dots per inch at which letters are told apart best.
DOTS_PER_INCH = 300
#: Form XObjects within form XObjects, at most.
DEPTH_MAX = 8
#: What is beyond a page counts as on it.
EVERYWHERE = 1e6

#: Characters that no font means: controls, private use, what could not be decoded.
_MEANINGLESS = re.compile(
    "\\(cid:\\d+\\)|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ue000-\uf8ff\ufffd\uffff\U000f0000-\U0010ffff]"
)
#: Two letters or more of Hebrew, Arabic and other scripts from right to left, without their digits.
_RIGHT_TO_LEFT = re.compile("[\u0590-\u065f\u066a-\u06ef\u06fa-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]{2,}")


@dataclass(frozen=True)
class PageContent:
    """The content of one page."""

    text: str
    pictures: int = 0
    #: Whether anything is drawn, be it text or not.
    is_drawn: bool = True
    #: Whether a picture covers most of it.
    is_covered: bool = False

    @property
    def is_garbled(self) -> bool:
        """Whether most of the characters mean nothing, since their font does not say what they are."""
        visible = "".join(self.text.split())
        return 2 * sum(len(match) for match in _MEANINGLESS.findall(visible)) > len(visible)


class Pages(Protocol):
    """The pages of one file."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    def read(self, index: int) -> PageContent:
        """Read a page, from 0. Raises anything for one that is damaged."""
        ...

    def render(self, index: int) -> "Image | None":
        """Render a page as a picture; None where that cannot be done."""
        ...

    def read_outline(self) -> list[str]:
        """Read the bookmarks, a line for each."""
        ...


class PdfiumPages:
    """Pages as PDFium reads them."""

    def __init__(self, content: bytes) -> None:
        """Open a file. Raises `PdfiumError`, with a code where a password or certificate is asked for."""
        import pypdfium2

        self._document = pypdfium2.PdfDocument(content)

    def __len__(self) -> int:
        """How many there are, or are said to be."""
        return len(self._document)

    def read(self, index: int) -> PageContent:
        """Read a page. Raises `PdfiumError` for one that is damaged."""
        page = self._document[index]
        try:
            text_page = page.get_textpage()
            text = text_page.get_text_bounded(-EVERYWHERE, -EVERYWHERE, EVERYWHERE, EVERYWHERE)
            text = _turn_words(text, text_page)
            text_page.close()
            pictures, is_drawn, coverage = _look_at_objects(page)
        finally:
            page.close()
        return PageContent(_unify_lines(text), pictures, is_drawn, coverage > SCAN_COVERAGE_MIN)

    def render(self, index: int) -> "Image | None":
        """Render a page in grey, as large as letters need."""
        page = self._document[index]
        try:
            scale = min(DOTS_PER_INCH / 72, EDGE_MAX / max(*page.get_size(), 1))
            image: Image = page.render(scale=scale, grayscale=True).to_pil()
            return image
        finally:
            page.close()

    def read_outline(self) -> list[str]:
        """Read the bookmarks with their pages."""
        return [self._describe_bookmark(bookmark) for bookmark in self._document.get_toc(max_depth=20)]

    def _describe_bookmark(self, bookmark: Any) -> str:
        destination = bookmark.get_dest()
        index = destination.get_index() if destination else None
        page = "" if index is None else f" (page {index + 1})"
        return f"{'  ' * bookmark.level}- {bookmark.get_title().strip()}{page}"


def _look_at_objects(page: Any) -> tuple[int, bool, float]:
    """The pictures of a page, whether anything is drawn on it, and the part of it that its largest picture covers."""
    from pypdfium2 import raw

    width, height = page.get_size()
    pictures, is_drawn, largest_area = 0, False, 0.0
    for each in page.get_objects(max_depth=DEPTH_MAX):
        is_drawn = True
        if each.type == raw.FPDF_PAGEOBJ_IMAGE:
            pictures += 1
            if each.level == 0:
                left, bottom, right, top = each.get_bounds()
                largest_area = max(largest_area, (right - left) * (top - bottom))
    return pictures, is_drawn, largest_area / max(width * height, 1)


def _turn_words(text: str, text_page: Any) -> str:
    """Turn words of right-to-left scripts whose letters come in the order in which they are drawn, from the left.

    PDFium leaves them so where each letter stands for a drawn one, as browsers print them.
    """
    if not _RIGHT_TO_LEFT.search(text):
        return text
    from pypdfium2 import raw

    count = text_page.count_chars()
    letters = "".join(chr(raw.FPDFText_GetUnicode(text_page, index) & 0xFFFF) for index in range(count))
    turned_words = {}
    for word in _RIGHT_TO_LEFT.finditer(letters):
        first_left, first_bottom, _, _ = text_page.get_charbox(word.start(), loose=True)
        last_left, last_bottom, _, _ = text_page.get_charbox(word.end() - 1, loose=True)
        if last_left - first_left > abs(last_bottom - first_bottom):
            turned_words[word[0]] = word[0][::-1]
    return _RIGHT_TO_LEFT.sub(lambda word: turned_words.get(word[0], word[0]), text)


def _unify_lines(text: str) -> str:
    """Write line ends in one way; a word that is hyphenated at the end of a line stays so."""
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\x02", "-\n").replace("\ufffe", "-\n").strip()


class PypdfPages:
    """Pages as pypdf reads them."""

    def __init__(self, reader: "PdfReader") -> None:
        self._reader = reader

    def __len__(self) -> int:
        """How many there are."""
        return len(self._reader.pages)

    def read(self, index: int) -> PageContent:
        """Read a page. Raises anything for one that is damaged."""
        page = self._reader.pages[index]
        text = page.extract_text().strip()
        pictures = len(page.images)
        return PageContent(text, pictures, is_drawn="/Contents" in page)

    def render(self, index: int) -> "Image | None":
        """Take the largest picture of a page for the page."""
        from PIL import Image

        images = [Image.open(io.BytesIO(image.data)) for image in self._reader.pages[index].images]
        return max(images, key=lambda image: image.width * image.height, default=None)

    def read_outline(self) -> list[str]:
        """Read the bookmarks, without their pages."""
        return list(_flatten(self._reader.outline, 0))


def _flatten(outline: Any, level: int) -> list[str]:
    lines = []
    for item in outline:
        if isinstance(item, list):
            lines += _flatten(item, level + 1)
        else:
            lines.append(f"{'  ' * level}- {item.title}")
    return lines
