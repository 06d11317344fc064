"""Macros and embedded programs in documents that are written as text: rich text, mails, XML of office programs.

What stays true: Office and LibreOffice tell these by their content, whatever they are called, so that they are searched
from end to end whatever they are called. Text that merely speaks of macros has none.
"""

import binascii
import re
from collections.abc import Iterable, Iterator, Mapping

from store.media_types.office_macros import is_elsewhere, is_macro_relationship, is_macro_type, is_telling_name
from store.media_types.open_document_macros import WORDS, is_call
from store.media_types.sample import Sample
from store.media_types.structured import MAIL
from store.media_types.xml_tags import TagSearch, may_hold
from store.media_types.zip_parts import plain_name

#: Bytes in which it is told which kind of text it is: those in which fields of a mail are searched.
_HEAD_BYTES = 64 * 1024
#: Bytes of the piece before, where something that is searched may begin: far above its length.
_OVERLAP_BYTES = 8 * 1024
#: An object or a link to one. A backslash before it makes it text.
_RICH_TEXT_OBJECT = re.compile(rb"(?<!\\)(?:\\\\)*\\obj(?:ect|data|ocx|html|link|autlink)(?![a-z])", re.IGNORECASE)
#: What may stand between a field and its text, and the command to another program there.
_RICH_TEXT_LAYOUT = re.compile(rb"\\(?!fldinst)[a-z]+-?\d*|\\\*|[\s{}]+", re.IGNORECASE)
_RICH_TEXT_COMMAND = re.compile(rb"\\fldinst-?\d*dde", re.IGNORECASE)
_RICH_TEXT_TEMPLATE = re.compile(rb"(?<!\\)(?:\\\\)*\\template(?![a-z])-?\d{0,9}([^}]{1,2000})", re.IGNORECASE)
#: A character in one of its spellings, or what is none.
_RICH_TEXT_CHAR = re.compile(
    r"\\'(?P<hex>[0-9a-f]{2})|\\u(?P<number>-?\d{1,5}) ?(?:\?|\\'[0-9a-f]{2})?"
    r"|\\(?P<escaped>[\\{}])|\\\*|\\[a-z]+(?:-?\d{1,9})? ?|[{\r\n]",
    re.IGNORECASE,
)
#: How the file begins in which Word keeps macros beside a page: at the beginning of a part, plain or in base64.
_ACTIVE_MIME = re.compile(
    rb"\n[ \t\r]?\n\s?(?:ActiveMime\0|"
    # Readers of base64 pass over what is none.
    + rb"[^A-Za-z0-9+/]{0,9}".join(bytes([letter]) for letter in b"QWN0aXZlTWltZQA")
    + rb")"
)
_SPACE = re.compile(rb"\s{3,}")
#: The first tags of office documents that are one XML file.
_XML_ROOTS = frozenset({"document", "package", "worddocument"})
#: Words without which XML is no such document, and without which it has no macros.
_XML_OFFICE = (b"opendocument", b"openoffice.org", b"schemas.microsoft.com", b"purl.oclc.org/ooxml")
_XML_WORDS = (*WORDS, b"macroenabled", b"vbaproject", b"vbadata", b"macrosheet", b"activex", b"docsuppdata",
              b"relationship", b"macrospresent", b"ocxpresent")  # fmt: skip


def has_macros(sample: Sample, media_type: str) -> bool:
    """Whether text of this type has macros. Raises `UnreadableParts`."""
    head = _read_head(sample.head)
    if head.startswith(b"{\\rt") and any(map(_is_rich_text_object, _windows(sample.read_pieces()))):
        return True
    is_mail = media_type == MAIL or _is_page(head)
    if is_mail and any(map(_is_active_mime, _windows(sample.read_pieces()))):
        return True
    return head.startswith(b"<") and _xml_has_macros(sample)


def is_searched(head: bytes) -> bool:
    """Whether text that begins like this may be of a format that can have macros."""
    head = _read_head(head)
    return head.startswith((b"{\\rt", b"<")) or _is_page(head) or b"from:" in head or b"received:" in head


def _is_page(head: bytes) -> bool:
    """Whether a text may be a page that was saved with its parts: programs read one whose fields are damaged."""
    return b"mime-version" in head or b"multipart/" in head


def _read_head(content: bytes) -> bytes:
    """Read the beginning of a text in any encoding, without what stands before it, as ASCII in lower case."""
    return content[:_HEAD_BYTES].replace(b"\0", b"").lstrip(b"\xef\xbb\xbf\xff\xfe").lstrip().lower()


def _xml_has_macros(sample: Sample) -> bool:
    if not may_hold(_XML_OFFICE, sample.read_pieces()) or not may_hold(_XML_WORDS, sample.read_pieces()):
        return False
    # Other XML may well define entities, as that of publishers does.
    is_office = may_hold(_XML_OFFICE, sample.read_pieces(), by_reference=False)
    search = TagSearch(_is_macro, roots=_XML_ROOTS, takes_entities=not is_office)
    return search.run(sample.read_pieces(), is_lenient=True)


def _is_macro(name: str, attributes: Mapping[str, str]) -> bool:
    if name == "docsuppdata" or "yes" in (attributes.get("macrospresent"), attributes.get("ocxpresent")):
        return True
    if name == "part":
        part_name = plain_name(attributes.get("name", ""))
        return is_macro_type(attributes.get("contenttype", "")) or is_telling_name(part_name)
    return is_macro_relationship(name, attributes) if name == "relationship" else is_call(name, attributes)


def _is_rich_text_object(window: bytes) -> bool:
    plain = window.lower()
    if b"\\obj" in plain and _RICH_TEXT_OBJECT.search(window):
        return True
    if b"fldinst" in plain and b"dde" in plain and _RICH_TEXT_COMMAND.search(_RICH_TEXT_LAYOUT.sub(b"", window)):
        return True
    templates = _RICH_TEXT_TEMPLATE.finditer(window) if b"\\template" in plain else ()
    return any(is_elsewhere(_RICH_TEXT_CHAR.sub(_read_char, match[1].decode("latin-1"))) for match in templates)


def _read_char(match: re.Match[str]) -> str:
    if match["hex"]:
        return chr(int(match["hex"], 16))
    # Above 32,767 they are written as negative ones; fonts of symbols have their characters at 0xF000.
    return chr(int(match["number"]) & 0xFF) if match["number"] else match["escaped"] or ""


def _is_active_mime(window: bytes) -> bool:
    window = _SPACE.sub(b"\n\n", window.replace(b"\r\n", b"\n").replace(b"\r", b"\n"))
    if _ACTIVE_MIME.search(window):
        return True
    if b"=" not in window:
        return False
    return bool(_ACTIVE_MIME.search(binascii.a2b_qp(window)))


def _windows(pieces: Iterable[bytes]) -> Iterator[bytes]:
    behind = b""
    for piece in pieces:
        yield behind + piece
        behind = piece[-_OVERLAP_BYTES:]
