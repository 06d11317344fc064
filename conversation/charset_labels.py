"""Labels of encodings, as texts and their senders write them, and the codecs that they mean.

What stays true: a label is believed only if it names an encoding of text that people's programs write: Python's
registry also holds codecs that are no encodings of text, or cost time.
"""

import codecs
import re
from collections.abc import Iterator

#: Of a beginning, in which programs look for a declaration.
_HEAD_BYTES = 1024
_LABEL = rb"""[=:\s("'\[]*([\w.:-]{2,40})"""
#: XML and HTML, style sheets, catalogs, mail, LaTeX, cookies of Python, and the lines for Emacs and vim.
_DECLARATION = re.compile(
    rb"(?:charset|coding|encoding|fenc)" + _LABEL + rb"|\\usepackage\[([\w-]{2,20})\]\{inputenc\}", re.IGNORECASE
)
_NAME = re.compile(
    r"utf-?8|utf-?16(le|be)?|(us-)?ascii|latin-?[1-9]|iso[-_]?8859-\d{1,2}|(windows-|cp)-?(874|125\d)|koi8-?[ru]"
    r"|(x-)?mac-?(roman|cyrillic|greek|turkish|latin2|ce|centraleurope)|macintosh|tis-?620|big5(-hkscs)?|gb2312|gbk"
    r"|gb18030|cp936|cp950|euc-(jp|kr)|(windows-31j|cp932|(x-)?shift[-_]jis|x-sjis|sjis)|iso-2022-(jp|kr)|hz(-gb-2312)?"
    r"|cp949|uhc|ks_c_5601-1987|johab|(cp|ibm)-?(437|720|737|775|850|852|855|857|858|86[0-6]|1125)|cp866nav"
)
#: Labels that mean a larger encoding than their own, as in the Encoding Standard, or that Python has no name for.
_ALIASES = {
    "ascii": "cp1252", "us-ascii": "cp1252", "latin1": "cp1252", "latin-1": "cp1252", "iso-8859-1": "cp1252",
    "iso8859-1": "cp1252", "iso_8859-1": "cp1252", "iso-8859-9": "cp1254", "latin5": "cp1254", "iso-8859-11": "cp874",
    "tis-620": "cp874", "gb2312": "gb18030", "gbk": "gb18030", "cp936": "gb18030", "big5": "big5hkscs",
    "cp950": "big5hkscs", "euc-kr": "cp949", "ks_c_5601-1987": "cp949", "x-shift_jis": "cp932", "x-sjis": "cp932",
    "shift_jis": "cp932", "shift-jis": "cp932", "sjis": "cp932", "windows-31j": "cp932", "hz-gb-2312": "hz",
    "macintosh": "mac_roman", "utf-16": "utf-16-le", "utf16": "utf-16-le",
}  # fmt: skip


def find_codec(label: str | None) -> str | None:
    """The name of Python's codec for a label; None for a label that names no encoding of text."""
    name = (label or "").strip().lower()
    if not _NAME.fullmatch(name):
        return None
    effective_name = _ALIASES.get(name) or re.sub(r"^(windows-|ibm-?|cp-)(?=\d)", "cp", name.removeprefix("x-"))
    effective_name = re.sub(r"^mac-?(ce|centraleurope|latin2)$", "mac_latin2", effective_name)
    try:
        return codecs.lookup(re.sub(r"^mac-?(?=[a-z])", "mac_", effective_name)).name
    except LookupError:  # iso-8859-12 was never made
        return None


def find_declared(content: bytes) -> Iterator[str]:
    """Yield the codecs of the encodings that a text readable byte by byte says of itself, where it begins."""
    for match in _DECLARATION.finditer(content, 0, _HEAD_BYTES):
        codec = find_codec((match[1] or match[2]).decode("ascii", "replace"))
        if codec is not None:
            # It was readable byte by byte, so that it is none of the wide ones.
            yield "utf-8" if codec.startswith("utf-16") else codec
