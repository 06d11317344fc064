"""The text of bytes inside a file, by the label that goes with them.

What stays true: any bytes give text; a label is believed only where it names an encoding of text. All else is decided
as for a file of its own (`conversation/charset.py`), so that gate and readers agree.
"""

import codecs

from agent.files.readers.sections import TextSections
from conversation.charset import TextEncoding, decide, split_byte_order_mark
from conversation.charset_labels import find_codec as find_web_codec

#: Codecs of Python that are no encodings of a text.
_NO_ENCODINGS = {"idna", "punycode", "unicode-escape", "raw-unicode-escape", "undefined"}
_DEFAULT = TextEncoding("cp1252", confidence=0.0, is_guess=True)


def decode(content: bytes, label: str | None = None, *, sections: TextSections | None = None) -> str:
    """Decode bytes: by their mark, by their label where it is true, else as a file of its own.

    A guess is told in `sections`, and so is what could not be decoded.
    """
    encoding, text = _decode(content, find_codec(label))
    if sections is not None:
        for sentence in filter(None, (encoding.remark, encoding.describe_broken(text, content))):
            sections.remark(sentence)
    return text


def _decode(content: bytes, codec: str | None) -> tuple[TextEncoding, str]:
    labelled: tuple[TextEncoding, str] | None = None
    if codec is not None and split_byte_order_mark(content)[0] is None and not _is_narrow(content, codec):
        labelled = TextEncoding(codec), content.decode(codec, "replace")
        if "\ufffd" not in labelled[1]:
            return labelled
    encoding = decide(content)
    text = encoding.decode(content) if encoding else ""
    if encoding and (labelled is None or "\ufffd" not in text):
        return encoding, text
    return labelled or (_DEFAULT, _DEFAULT.decode(content))


def _is_narrow(content: bytes, codec: str) -> bool:
    """Whether bytes that are called UTF-16 or UTF-32 are ASCII: what converts a text may leave its label."""
    return codec.startswith(("utf-16", "utf-32")) and content.isascii() and b"\x00" not in content


def find_codec(label: str | None) -> str | None:
    """The codec of an encoding by its name: those of the web, and those that mail has beside them."""
    name = (label or "").strip().strip("\"'").lower()
    if find_web_codec(name):
        return find_web_codec(name)
    try:
        codec = codecs.lookup({"iso-8859-8-i": "iso8859-8", "unicode-1-1-utf-7": "utf-7"}.get(name, name))
        # Codecs of bytes, and those that know no other way than to fail.
        b" ".decode(codec.name, "replace")
    except (LookupError, ValueError, UnicodeError):
        return None
    return None if codec.name in _NO_ENCODINGS else codec.name


def find_encoding(content: bytes, default: str) -> str:
    """The codec of bytes by what they are; `default` where that cannot be told."""
    encoding = decide(content)
    return encoding.name if encoding is not None else default
