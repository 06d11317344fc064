"""The type of a text: plain, a table, Markdown, JSON, or markup that a browser would run.

What stays true: what is text here is read in the same encoding later; a web page or an SVG drawing is called
that, whatever it is named or declared as.
"""

import json
import re

from conversation.charset import CONTROLS_MAX_SHARE, TextEncoding, decide, has_text
from store.media_types.sample import Sample
from store.media_types.signatures import BINARY_TYPES, LAUNCHED_TYPES

#: Text that does nothing when it is opened, so that one kind may pass for another.
INERT_TYPES = frozenset({
    "text/plain", "text/csv", "text/tab-separated-values", "text/markdown", "text/xml", "application/json",
})  # fmt: skip
#: JSON is built to be checked up to here: 20 MB of empty lists take 500 MB. Larger, it is judged by its ends.
JSON_BUILT_MAX_CHARS = 1024 * 1024

#: Elements that make a document of a browser. Others, such as `<div>`, open many a README.
_ROOT = re.compile(
    r"<(?:[a-z]\w*:)?(?:(svg)|html|head|body|frameset|script|iframe|style|title|meta|link|base|object|embed)\b",
    re.IGNORECASE,
)
_DOCTYPE = re.compile(r"<!doctype\s+(?:(svg)|html)\b", re.IGNORECASE)
_OTHER_DOCTYPE = re.compile(r"<!doctype\b[^\[>]*(?:\[[^\]]*\]\s*)?>", re.IGNORECASE)
_SPACE = re.compile(r"\s*")
_CELL_END = re.compile(r"[,;\t]")
_ASKED_PROGRAM = re.compile(r"\w ?\|")
_TABLES = {"text/csv", "text/tab-separated-values", "text/markdown"}
_TEXTUAL = frozenset({
    "application/json", "application/xml", "application/xhtml+xml", "application/javascript",
    "application/x-javascript", "application/x-ndjson", "application/yaml", "application/x-yaml",
    "application/toml", "application/sql", "application/x-sh", "application/x-python-code", "application/rtf",
})  # fmt: skip
#: Pictures and drawings that are written as text.
_TEXTUAL_PICTURES = frozenset({
    "image/vnd.dxf", "image/x-dxf", "image/vnd.dvb.subtitle", "image/x-xbitmap", "image/x-xpixmap",
    "image/x-portable-anymap",    "image/x-portable-bitmap", "image/x-portable-graymap", "image/x-portable-pixmap",
})  # fmt: skip
_OFFICE_PREFIXES = ("application/vnd.openxmlformats", "application/vnd.oasis.", "application/vnd.ms-", "font/")


def is_textual(media_type: str | None) -> bool:
    """Whether files of this type are text."""
    if media_type is None:
        return False
    return media_type.startswith("text/") or media_type in _TEXTUAL or media_type.endswith(("+json", "+yaml"))


def may_name_text(claim: str) -> bool:
    """Whether a claim is one that programs make of text that does nothing when it is opened.

    Browsers take types from tables of endings, in which a program in TypeScript is a film and a key a program.
    None of that matters to who reads the text. A claim to be what is shown, unpacked, played or run is a lie.
    """
    if claim.startswith("image/"):
        return claim in _TEXTUAL_PICTURES
    return not (claim in BINARY_TYPES or claim in LAUNCHED_TYPES or claim.startswith(_OFFICE_PREFIXES))


def decode(sample: Sample) -> tuple[str, TextEncoding] | None:
    """Decode the bytes of a text, of a large file its beginning, as its readers will; None where they are no text."""
    encoding = decide(sample.head, is_whole=sample.is_whole)
    if encoding is None:
        return None
    text = encoding.decode(sample.head, is_whole=sample.is_whole)
    # What begins as text may be a program behind it.
    is_wide = encoding.name.startswith(("utf-16", "utf-32"))
    if not has_text(text, share=CONTROLS_MAX_SHARE) or (b"\x00" in sample.tail and not is_wide):
        return None
    return text, encoding


def text_type(text: str, claims: tuple[str | None, ...], *, is_whole: bool = True) -> str:
    """The media type of a text. `claims` says what it is called, the strongest claim first."""
    text = text.removeprefix("\ufeff")
    active = _active_type(text)
    if active:
        return active
    for claim in filter(None, claims):
        if claim in _TABLES and not _launches(text):
            return claim
        if claim == "application/json" and (_is_json(text) if is_whole else _begins_as_json(text)):
            return claim
        if claim.endswith(("/xml", "+xml")) and text.lstrip().startswith("<"):
            return "text/xml"
    return "text/plain"


def _active_type(text: str) -> str | None:
    """The type of the first markup that a browser would see, past comments, `<?…>` and foreign doctypes."""
    at = 0
    while True:
        at = _end_of(_SPACE.match(text, at))
        for opening, closing in (("<!--", "-->"), ("<?", ">")):
            if text.startswith(opening, at):
                end = text.find(closing, at + len(opening))
                if end < 0:
                    return None  # all the rest is a comment
                at = end + len(closing)
                break
        else:
            root = _DOCTYPE.match(text, at) or _ROOT.match(text, at)
            if root:
                return "image/svg+xml" if root[1] else "text/html"
            doctype = _OTHER_DOCTYPE.match(text, at)
            if not doctype:
                return None
            at = doctype.end()


def _launches(text: str) -> bool:
    """Whether a program for tables would run something of this text, so that it is called no table."""
    if text.startswith("ID;"):  # a sheet of another format, in which macros can stand
        return True
    lines = text.splitlines() if "|" in text and "!" in text else ()
    return any(map(_asks_program, (line for line in lines if "|" in line and "!" in line)))


def _asks_program(line: str) -> bool:
    """Whether a cell of this line asks another program for its value, as `=cmd|'/c calc'!A1` does."""
    cells = (cell.strip(" \"'") for cell in _CELL_END.split(line))
    return any(cell.startswith(("=", "+", "-", "@")) and _ASKED_PROGRAM.search(cell) for cell in cells)


def _end_of(match: "re.Match[str] | None") -> int:
    assert match is not None  # the pattern matches nothing, too
    return match.end()


def resembles_json(text: str) -> bool:
    """Whether a text is in a form that people call JSON, too: with comments, or a value on each line."""
    stripped_text = text.strip()
    return stripped_text.startswith(("{", "[", "//", "/*")) and stripped_text.endswith(("}", "]", "*/"))


def _begins_as_json(text: str) -> bool:
    return text.lstrip()[:1] in ("{", "[")


def _is_json(text: str) -> bool:
    if len(text) > JSON_BUILT_MAX_CHARS:
        return _begins_as_json(text) and text.rstrip()[-1:] in ("}", "]")
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
