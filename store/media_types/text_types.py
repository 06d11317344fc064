"""The type of a text: plain, a table, Markdown, JSON, or markup that a browser would run.

What stays true: bytes with control characters that no text has are no text; a web page or an SVG
drawing is called that, whatever it is named or declared as.
"""

import codecs
import json
import re

from conversation.charset import split_byte_order_mark
from store.media_types.sample import Sample

#: Text that does nothing when it is opened, so that one kind may pass for another.
INERT_TYPES = frozenset({
    "text/plain", "text/csv", "text/tab-separated-values", "text/markdown", "text/xml", "application/json",
})  # fmt: skip
#: JSON is built to be checked up to here: 20 MB of empty lists take 500 MB. Larger, it is judged by its ends.
JSON_BUILT_MAX_CHARS = 1024 * 1024

#: The "binary data bytes" of the MIME Sniffing standard: no text has them.
_BINARY = re.compile("[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")
_BINARY_BYTES = re.compile(b"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")
#: Elements that make a document of a browser. Others, such as `<div>`, open many a README.
_ROOT = re.compile(
    r"<(?:[a-z]\w*:)?(?:(svg)|html|head|body|frameset|script|iframe|style|title|meta|link|base|object|embed)\b",
    re.IGNORECASE,
)
_DOCTYPE = re.compile(r"<!doctype\s+(?:(svg)|html)\b", re.IGNORECASE)
_OTHER_DOCTYPE = re.compile(r"<!doctype\b[^\[>]*(?:\[[^\]]*\]\s*)?>", re.IGNORECASE)
_SPACE = re.compile(r"\s*")
_TABLES = {"text/csv", "text/tab-separated-values", "text/markdown"}
_TEXTUAL = frozenset({
    "application/json", "application/xml", "application/xhtml+xml", "application/javascript",
    "application/x-javascript", "application/x-ndjson", "application/yaml", "application/x-yaml",
    "application/toml", "application/sql", "application/x-sh", "application/x-python-code", "application/rtf",
})  # fmt: skip


def is_textual(media_type: str | None) -> bool:
    """Whether files of this type are text."""
    if media_type is None:
        return False
    return media_type.startswith("text/") or media_type in _TEXTUAL or media_type.endswith(("+json", "+yaml"))


def decode(sample: Sample, *, is_called_text: bool) -> str | None:
    """Decode the bytes of a text, of a large file its beginning; None where they are no text.

    Old 8-bit encodings cannot be told from binary data by their bytes alone, so that they pass only
    for files that are called text and are ASCII for the larger part.
    """
    content, is_whole = sample.head, sample.is_whole
    encoding, unmarked = split_byte_order_mark(content)
    if encoding is not None:
        return _decode_strictly(unmarked, encoding, is_whole=is_whole)
    text = _decode_strictly(content, "utf-8", is_whole=is_whole)
    if text is None and is_called_text and _is_mostly_ascii(content):
        text = _decode_strictly(content, "latin-1", is_whole=is_whole)
    # What begins as text may be a program behind it.
    return None if not is_whole and _BINARY_BYTES.search(sample.tail) else text


def text_type(text: str, claims: tuple[str | None, ...], *, is_whole: bool = True) -> str:
    """The media type of a text. `claims` says what it is called, the strongest claim first."""
    text = text.removeprefix("\ufeff")
    active = _active_type(text)
    if active:
        return active
    for claim in filter(None, claims):
        if claim in _TABLES:
            return claim
        if claim == "application/json" and (_is_json(text) if is_whole else _begins_as_json(text)):
            return claim
        if claim.endswith(("/xml", "+xml")) and text.lstrip().startswith("<"):
            return "text/xml"
    return "text/plain"


def _decode_strictly(content: bytes, encoding: str, *, is_whole: bool) -> str | None:
    try:
        # A beginning may end within a character.
        text = codecs.getincrementaldecoder(encoding)("strict").decode(content, final=is_whole)
    except UnicodeDecodeError:
        return None
    return None if _BINARY.search(text) else text


def _is_mostly_ascii(content: bytes) -> bool:
    others = len(content.translate(None, delete=bytes(range(0x80))))
    return others * 10 <= len(content) * 3


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


def _end_of(match: "re.Match[str] | None") -> int:
    assert match is not None  # the pattern matches nothing, too
    return match.end()


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
