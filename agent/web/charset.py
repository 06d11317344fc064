"""The text of a web document, from bytes and from what was said about their encoding.

What stays true: any bytes give text that can be stored. A label is believed only if it names an
encoding that the web knows: Python's registry also holds codecs that are no encodings of text, or
cost time.
"""

import codecs
import re

from agent.files.extract import decode_text, storable

#: Browsers look this far for a document's own word.
HEAD_BYTES = 1024

_MARKS = (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_OWN_WORD = re.compile(
    rb"""<meta[^>]{0,200}?charset\s*=\s*["']?\s*([\w.:-]{1,40})|^\s*<\?xml[^>]{0,200}?encoding\s*=\s*["']([\w.:-]{1,40})""",
    re.IGNORECASE,
)
_OF_THE_WEB = re.compile(
    r"utf-?8|utf-?16(le|be)?|(us-)?ascii|latin-?1|iso[-_]?8859-\d{1,2}|(windows-|cp)(874|125\d)|koi8-[ru]"
    r"|macintosh|tis-620|big5(-hkscs)?|gb2312|gbk|gb18030|euc-(jp|kr)|(windows-31j|shift[-_]jis|sjis)|iso-2022-jp"
)
#: Labels that on the web mean a larger encoding than their own: as in the Encoding Standard.
_MEANT = {
    "ascii": "cp1252", "us-ascii": "cp1252", "latin1": "cp1252", "latin-1": "cp1252", "iso-8859-1": "cp1252",
    "iso8859-1": "cp1252", "iso_8859-1": "cp1252", "iso-8859-9": "cp1254", "iso-8859-11": "cp874",
    "tis-620": "cp874", "gb2312": "gb18030", "gbk": "gb18030", "big5": "big5hkscs", "euc-kr": "cp949",
    "shift_jis": "cp932", "shift-jis": "cp932", "sjis": "cp932", "windows-31j": "cp932",
    "macintosh": "mac_roman", "utf-16": "utf-16-le", "utf16": "utf-16-le",
}  # fmt: skip


def decode(body: bytes, charset: str | None, *, is_markup: bool) -> str:
    """By its mark, by what the server says, by its own word, else by what its bytes look like."""
    if not body.startswith(_MARKS):
        label = _known(charset) or (_known(_own_word(body)) if is_markup else None)
        if label is not None:
            return storable(body.decode(label, "replace"))
    return decode_text(body, max_chars=len(body)).text


def _known(label: str | None) -> str | None:
    name = (label or "").strip().lower()
    if not _OF_THE_WEB.fullmatch(name):
        return None
    meant = _MEANT.get(name, name)
    try:
        return codecs.lookup(meant).name
    except LookupError:  # iso-8859-12 was never made
        return None


def _own_word(body: bytes) -> str | None:
    found = _OWN_WORD.search(body[:HEAD_BYTES])
    if found is None:
        return None
    label = (found[1] or found[2]).decode("ascii", "replace").lower()
    # It was readable byte by byte, so that it is none of the wide ones.
    return "utf-8" if label.startswith("utf-16") else label
