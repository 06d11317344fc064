"""The text of bytes inside a file, by the label that goes with them.

What stays true: any bytes give text; a label is believed only where it names an encoding of text.
"""

import codecs
import re

from agent.files.readers.sections import TextSections
from conversation.charset import split_byte_order_mark

#: Browsers scan this far for a document's own declaration.
_HEAD_BYTES = 1024
_DECLARATION = re.compile(
    rb"""<meta[^>]{0,200}?charset\s*=\s*["']?\s*([\w.:-]{1,40})|^\s*<\?xml[^>]{0,200}?encoding\s*=\s*["']([\w.:-]{1,40})""",
    re.IGNORECASE,
)
#: Codecs of Python that are no encoding of a text.
_NO_ENCODINGS = {"idna", "punycode", "unicode-escape", "raw-unicode-escape", "undefined", "utf-7-imap"}
#: Names that mail programs write, and that mean more characters than they should.
_ALIASES = {
    "gb2312": "gb18030", "gbk": "gb18030", "ks_c_5601-1987": "cp949", "euc-kr": "cp949", "shift_jis": "cp932",
    "iso-8859-1": "cp1252", "iso-8859-8-i": "iso8859-8", "big5": "big5hkscs", "x-sjis": "cp932",
    "x-mac-roman": "mac_roman", "macintosh": "mac_roman", "x-gbk": "gb18030", "unicode-1-1-utf-7": "utf-7",
    "iso-8859-9": "cp1254", "x-unknown": "", "unknown-8bit": "", "default": "", "tis-620": "cp874",
}  # fmt: skip


def decode(
    content: bytes, label: str | None = None, *, is_markup: bool = False, sections: TextSections | None = None
) -> str:
    """Decode bytes: by their mark, by their label, by what markup says of itself, else by what they are.

    A guess is told in `sections`.
    """
    encoding, unmarked = split_byte_order_mark(content)
    if encoding is None:
        encoding = find_codec(label) or (find_codec(_declared_label(content)) if is_markup else None)
    if encoding is not None:
        return unmarked.decode(encoding, "replace")
    try:
        return content.decode()
    except UnicodeDecodeError:
        if sections is not None:
            sections.remark("The text was read as Windows-1252, which is a guess.")
        return content.decode("cp1252", "replace")


def find_encoding(content: bytes, default: str) -> str:
    """The codec of bytes by what they are; `default` where that cannot be told."""
    try:
        content.decode()
    except UnicodeDecodeError:
        return default
    return "utf-8"


def find_codec(label: str | None) -> str | None:
    """The codec of an encoding by its name; None for a name that is none of a text's encodings."""
    name = (label or "").strip().strip("\"'").lower()
    try:
        codec = codecs.lookup(_ALIASES.get(name, name))
        # Codecs of bytes, and those that know no other way than to fail.
        b" ".decode(codec.name, "replace")
    except (LookupError, ValueError, UnicodeError):
        return None
    return None if codec.name in _NO_ENCODINGS else codec.name


def _declared_label(content: bytes) -> str | None:
    match = _DECLARATION.search(content[:_HEAD_BYTES])
    return (match[1] or match[2]).decode("ascii", "replace") if match else None
