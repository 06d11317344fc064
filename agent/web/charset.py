"""The text of a web document, from bytes and from what server and document say about their encoding.

What stays true: any bytes give text that can be stored. A label is believed only if it names an
encoding that the web knows: Python's registry also holds codecs that are no encodings of text, or
cost time.
"""

import codecs
import re

from agent.files.extract import decode_text
from conversation.charset import split_byte_order_mark
from conversation.storable_text import make_storable

#: Browsers scan this far for a document's own declaration.
HEAD_BYTES = 1024

_CHARSET_DECLARATION = re.compile(
    rb"""<meta[^>]{0,200}?charset\s*=\s*["']?\s*([\w.:-]{1,40})|^\s*<\?xml[^>]{0,200}?encoding\s*=\s*["']([\w.:-]{1,40})""",
    re.IGNORECASE,
)
_WEB_ENCODING = re.compile(
    r"utf-?8|utf-?16(le|be)?|(us-)?ascii|latin-?1|iso[-_]?8859-\d{1,2}|(windows-|cp)(874|125\d)|koi8-[ru]"
    r"|macintosh|tis-620|big5(-hkscs)?|gb2312|gbk|gb18030|euc-(jp|kr)|(windows-31j|shift[-_]jis|sjis)|iso-2022-jp"
)
#: Labels that on the web mean a larger encoding than their own: as in the Encoding Standard.
_WEB_ALIASES = {
    "ascii": "cp1252", "us-ascii": "cp1252", "latin1": "cp1252", "latin-1": "cp1252", "iso-8859-1": "cp1252",
    "iso8859-1": "cp1252", "iso_8859-1": "cp1252", "iso-8859-9": "cp1254", "iso-8859-11": "cp874",
    "tis-620": "cp874", "gb2312": "gb18030", "gbk": "gb18030", "big5": "big5hkscs", "euc-kr": "cp949",
    "shift_jis": "cp932", "shift-jis": "cp932", "sjis": "cp932", "windows-31j": "cp932",
    "macintosh": "mac_roman", "utf-16": "utf-16-le", "utf16": "utf-16-le",
}  # fmt: skip


def decode(body: bytes, charset: str | None, *, is_markup: bool) -> str:
    """Decode a body: by its mark, by what the server says, by its own declaration, else by its bytes."""
    if split_byte_order_mark(body)[0] is None:
        label = _find_codec(charset) or (_find_codec(_find_declared_charset(body)) if is_markup else None)
        if label is not None:
            return make_storable(body.decode(label, "replace"))
    return decode_text(body, max_chars=len(body)).text


def _find_codec(label: str | None) -> str | None:
    name = (label or "").strip().lower()
    if not _WEB_ENCODING.fullmatch(name):
        return None
    effective_name = _WEB_ALIASES.get(name, name)
    try:
        return codecs.lookup(effective_name).name
    except LookupError:  # iso-8859-12 was never made
        return None


def _find_declared_charset(body: bytes) -> str | None:
    match = _CHARSET_DECLARATION.search(body[:HEAD_BYTES])
    if match is None:
        return None
    label = (match[1] or match[2]).decode("ascii", "replace").lower()
    # It was readable byte by byte, so that it is none of the wide ones.
    return "utf-8" if label.startswith("utf-16") else label
