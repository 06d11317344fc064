"""The text of a web document, from bytes and from what server and document say about their encoding.

What stays true: any bytes give text that can be stored. What a file would be refused for is read as browsers
do, and said.
"""

from conversation.charset import TextEncoding, decide
from conversation.charset_labels import find_codec
from conversation.storable_text import make_storable

#: What browsers take for the encoding of a page that does not say it.
_DEFAULT = TextEncoding("cp1252", confidence=0.0, is_guess=True)


def decode(body: bytes, charset: str | None) -> tuple[str, str | None]:
    """Decode a body: its text, and a sentence that tells of a guess."""
    encoding = decide(body, charset)
    if encoding is None:
        label = find_codec(charset)
        encoding = TextEncoding(label) if label else _DEFAULT
    return make_storable(encoding.decode(body)), encoding.remark
